//! Renews the node's certificate at two thirds of its life, without a restart and without breaking
//! a connection.

use std::sync::Arc;
use std::time::Duration;

use skiff_client::Client;
use tokio::sync::watch;

use crate::chain::Chain;
use crate::identity::{Home, Identity, IdentityError, validity, wall_clock};
use crate::join::{self, JoinError};

/// The wait after a renewal failed; a third of the certificate's life is left for this.
const RETRY: Duration = Duration::from_secs(60);

/// A new certificate is not renewed sooner than this, even if the machine's clock says that it
/// does not hold.
const PAUSE: Duration = Duration::from_secs(60);

/// Keeps the certificate fresh.
pub(super) struct Renewal {
    pub(super) client: Client,
    pub(super) home: Home,
    pub(super) known: watch::Sender<Arc<Identity>>,
}

#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error(transparent)]
    Ask(#[from] Box<JoinError>),
    #[error(transparent)]
    Keep(#[from] IdentityError),
    #[error("use the new certificate")]
    Use(#[source] skiff_client::TlsError),
    #[error("use the new certificate")]
    Switch(#[source] skiff_client::ConfigError),
}

impl Renewal {
    /// Runs without end.
    pub(super) async fn run(self, node: &str) {
        loop {
            let held = validity(&self.known.borrow().pair);
            match held {
                Ok(held) => {
                    let wait = held.renew_in(wall_clock()).max(PAUSE);
                    tokio::time::sleep(wait).await;
                }
                Err(error) => {
                    tracing::error!(error = %Chain(&error), "cannot read the certificate's life");
                    tokio::time::sleep(RETRY).await;
                }
            }
            match self.renew(node).await {
                Ok(()) => tracing::info!(node, "certificate renewed"),
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "certificate not renewed; will retry");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn renew(&self, node: &str) -> Result<(), RenewError> {
        let renewed = join::renew(&self.client, node).await.map_err(Box::new)?;
        let pair = renewed.pair.as_bytes();
        let own = skiff_client::Identity::from_pem(pair, pair).map_err(RenewError::Use)?;
        self.home.keep(&renewed)?;
        self.client
            .set_identity(&own)
            .await
            .map_err(RenewError::Switch)?;
        self.known.send_replace(Arc::new(renewed));
        Ok(())
    }
}
