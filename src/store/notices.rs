//! Hears what Postgres tells on a channel, over one of the pool's connections.
//!
//! Promise: cheap while there is nothing to hear. What is told while the connection is away is lost: whoever listens
//! also looks by itself.

use sqlx::postgres::PgListener;
use tokio::sync::OwnedSemaphorePermit;

use super::{connect::Store, error::StoreError};

/// Listens on one channel; connects when first asked, and again after a failure.
pub struct Notices {
    store: Store,
    channel: &'static str,
    listener: Option<(PgListener, OwnedSemaphorePermit)>,
}

impl Store {
    /// Will listen on a channel.
    pub fn notices(&self, channel: &'static str) -> Notices {
        Notices { store: self.clone(), channel, listener: None }
    }
}

impl Notices {
    /// Returns when something was told since the last call; many notices together are one.
    ///
    /// # Errors
    /// When the connection failed; the next call makes a new one.
    pub async fn heard(&mut self) -> Result<(), StoreError> {
        let failed = StoreError::new("listen for notices");
        if self.listener.is_none() {
            match self.connect().await {
                Ok(listener) => self.listener = Some(listener),
                Err(error) => return Err(failed(error)),
            }
        }
        let Some((listener, _)) = &mut self.listener else { return Ok(()) };
        if let Err(error) = listener.recv().await {
            self.listener = None;
            return Err(failed(error));
        }
        while listener.next_buffered().is_some() {}
        Ok(())
    }

    async fn connect(&self) -> Result<(PgListener, OwnedSemaphorePermit), sqlx::Error> {
        let turn = self.store.turn().await?;
        let mut listener = PgListener::connect_with(&self.store.pool).await?;
        listener.eager_reconnect(false);
        listener.listen(self.channel).await?;
        Ok((listener, turn))
    }
}
