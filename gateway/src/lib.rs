//! The gateway: HTTP from outside to the services inside, by the Ingresses that ask for it.
