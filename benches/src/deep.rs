//! A million jobs waiting: what enqueueing costs then, and what each of them costs the server to keep.

use crate::{
    corner::{Corner, command},
    noop,
    ours::{self, Load},
};

/// Beside the envelope itself, what a waiting job may cost before it counts as overhead, bytes.
const ALLOWANCE: f64 = 100.0;

/// What it takes to fill a deep queue.
pub(crate) struct Filled {
    /// Jobs enqueued per second until all wait.
    pub(crate) enqueue_per_s: f64,
    /// Of the server's memory, for each waiting job.
    pub(crate) bytes_a_job: f64,
    /// The same to the envelope's length and the allowance.
    pub(crate) memory_ratio: f64,
}

/// Lets so many wait.
pub(crate) async fn fill(corner: &Corner, n_waiting: usize) -> anyhow::Result<Filled> {
    let before = used_memory(corner).await?;
    let enqueue_per_s = ours::enqueue_bulk(corner, &Load::small(n_waiting)).await?;
    let bytes_a_job = (used_memory(corner).await? - before) / f64::from(u32::try_from(n_waiting)?);
    let envelope = noop::submissions(1, noop::SMALL)?.remove(0).envelope.write().len();
    let memory_ratio = bytes_a_job / (f64::from(u32::try_from(envelope)?) + ALLOWANCE);
    Ok(Filled { enqueue_per_s, bytes_a_job, memory_ratio })
}

async fn used_memory(corner: &Corner) -> anyhow::Result<f64> {
    let info: String = command(&corner.plain, "INFO", vec!["memory".into()]).await?.convert()?;
    read_used_memory(&info).ok_or_else(|| anyhow::anyhow!("the server's INFO says no used_memory"))
}

fn read_used_memory(info: &str) -> Option<f64> {
    info.lines().find_map(|line| line.strip_prefix("used_memory:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_memory_is_not_taken_for_its_longer_named_neighbours() {
        let info = "# Memory\r\nused_memory_human:1.0M\r\nused_memory:1048576\r\nused_memory_peak:2\r\n";
        assert_eq!(read_used_memory(info), Some(1_048_576.0));
        assert_eq!(read_used_memory("used_memory_peak:2"), None);
    }
}
