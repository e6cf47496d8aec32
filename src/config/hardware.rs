//! What the machine offers, and the sizes that follow where nobody set one.
//! Promise: respects a container's limits of processor and memory. Never fails: what cannot be read is left out.

use config::ValueKind;

use super::layer::Layer;

/// Running jobs per core: handlers mostly wait for the network.
const JOBS_PER_CORE: u64 = 64;
/// Memory that one running job is expected to need at most.
const JOB_BYTES: u64 = 4 << 20;

/// Cores and memory that this process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardware {
    /// Processor cores, at least 1.
    pub cores: u64,
    /// Memory in bytes, where it is known.
    pub memory_bytes: Option<u64>,
}

impl Hardware {
    /// Asks the operating system.
    #[must_use]
    pub fn detect() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let machine = read("/proc/meminfo").as_deref().and_then(total_of_meminfo);
        let container = read("/sys/fs/cgroup/memory.max").and_then(|limit| limit.trim().parse().ok());
        Self { cores, memory_bytes: machine.into_iter().chain(container).min() }
    }

    /// Connections in the Dragonfly pool: one per core, 2 to 10.
    #[must_use]
    pub fn dragonfly_pool(&self) -> u64 {
        self.cores.clamp(2, 10)
    }

    /// Running jobs per queue: 64 per core, fewer where memory is short.
    #[must_use]
    pub fn concurrency(&self) -> u64 {
        let by_memory = self.memory_bytes.map_or(u64::MAX, |bytes| bytes / JOB_BYTES);
        self.cores.saturating_mul(JOBS_PER_CORE).min(by_memory).clamp(1, 10_000)
    }

    /// The lowest layer of settings.
    pub(super) fn layer(&self) -> Layer {
        let mut layer = Layer::empty("machine");
        layer.set("dragonfly.pool_size".to_owned(), ValueKind::U64(self.dragonfly_pool()));
        layer.set("worker.concurrency".to_owned(), ValueKind::U64(self.concurrency()));
        layer
    }
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total_of_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_and_concurrency_follow_the_machine_within_bounds() {
        let sizes = |cores, memory_bytes| {
            let hardware = Hardware { cores, memory_bytes };
            (hardware.dragonfly_pool(), hardware.concurrency())
        };
        assert_eq!(sizes(1, None), (2, 64));
        assert_eq!(sizes(4, Some(16 << 30)), (4, 256));
        assert_eq!(sizes(64, None), (10, 4096));
        assert_eq!(sizes(8, Some(128 << 20)), (8, 32));
        assert_eq!(sizes(1, Some(0)), (2, 1));
    }

    #[test]
    fn memory_is_read_from_the_kernels_report() {
        assert_eq!(total_of_meminfo("MemTotal:       24684000 kB\nMemFree: 1 kB\n"), Some(24_684_000 * 1024));
        assert_eq!(total_of_meminfo("nonsense"), None);
    }
}
