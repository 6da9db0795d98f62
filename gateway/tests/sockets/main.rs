//! The gateway over real sockets: clients on one side, tiny services on the other, in one process.

#[cfg(test)]
mod access_log;
#[cfg(test)]
mod bodies;
mod canaries;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod http;
#[cfg(test)]
mod ports;
#[cfg(test)]
mod protocols;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod timeouts;
