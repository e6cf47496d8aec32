//! The consumer groups of a partition's streams.

use super::{
    connection::{BrokerError, BrokerErrorKind, text},
    partition::Partition,
};
use crate::keys::GROUP;

impl Partition {
    /// Creates the groups that are missing, so that they see every entry there is.
    ///
    /// Idempotent; called at start and whenever the server says that a group is gone, as after it lost its memory.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn create_groups(&self) -> Result<(), BrokerError> {
        for lane in self.lane_keys() {
            let args = ["CREATE", lane, GROUP, "0", "MKSTREAM"].map(text).to_vec();
            match self.commands.call("XGROUP", args).await {
                Err(error) if error.to_string().contains("BUSYGROUP") => {}
                // Redis says so before it looks whether the group is there already.
                Err(error) if error.kind() == BrokerErrorKind::OutOfMemory && self.has_group(lane).await => {}
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    async fn has_group(&self, lane: &str) -> bool {
        self.commands.call("XPENDING", [lane, GROUP].map(text).to_vec()).await.is_ok()
    }
}
