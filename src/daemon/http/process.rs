//! What this process takes of its host, by `/proc`.

use std::fs;

use crate::telemetry::metrics::ProcessUse;

/// The kernel's unit of times in `/proc`: a hundredth of a second on every architecture that Rust's standard library supports.
/// Source: `include/asm-generic/param.h`, USER_HZ.
const TICK_US: u64 = 10_000;

/// What this process takes of its host; `None` where `/proc` does not say it.
///
/// - **Source**: proc(5).
pub(super) fn process_use() -> Option<ProcessUse> {
    let [stat, status, limits, system] = ["self/stat", "self/status", "self/limits", "stat"]
        .map(|file| fs::read_to_string(format!("/proc/{file}")));
    let descriptors = fs::read_dir("/proc/self/fd").map(Iterator::count);
    // The directory's own descriptor is one of them.
    let open_descriptors = u64::try_from(descriptors.ok()?.saturating_sub(1)).ok()?;
    let read = parse(&stat.ok()?, &status.ok()?, (&limits.ok()?, &system.ok()?))?;
    Some(ProcessUse { open_descriptors, ..read })
}

fn parse(stat: &str, status: &str, (limits, system): (&str, &str)) -> Option<ProcessUse> {
    // The name of the process, in parentheses, may contain both.
    let fields: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let field = |number: usize| fields.get(number - 3)?.trim().parse::<u64>().ok();
    let (user, kernel, started) = (field(14)?, field(15)?, field(22)?);
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    let open = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let open = open.split_whitespace().next()?;
    let booted = system.lines().find_map(|line| line.strip_prefix("btime "))?.parse::<u64>().ok()?;
    Some(ProcessUse {
        cpu_us: (user + kernel).saturating_mul(TICK_US),
        resident_bytes: kilobytes("VmRSS:")? << 10,
        virtual_bytes: kilobytes("VmSize:")? << 10,
        open_descriptors: 0,
        most_descriptors: open.parse().unwrap_or(u64::MAX),
        started_us: booted.saturating_mul(1_000_000).saturating_add(started.saturating_mul(TICK_US)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_process_are_read() {
        let stat =
            "42 (a) b (c) S 1 42 42 0 -1 4194560 900 0 0 0 250 150 0 0 20 0 3 0 3000 80000000 500 99\n";
        let status = "Name:\tgqos\nVmSize:\t    2048 kB\nVmRSS:\t     512 kB\n";
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max open files            1024                 4096                 files     \n";
        let system = "cpu  1 2 3\nbtime 1000\n";
        let expected = ProcessUse {
            cpu_us: 4_000_000,
            resident_bytes: 512 << 10,
            virtual_bytes: 2048 << 10,
            open_descriptors: 0,
            most_descriptors: 1024,
            started_us: 1_030_000_000,
        };
        assert_eq!(parse(stat, status, (limits, system)), Some(expected));
        let unlimited = limits.replace("1024", "unlimited");
        assert_eq!(parse(stat, status, (&unlimited, system)).unwrap().most_descriptors, u64::MAX);
        assert_eq!(parse("42 (a) S 1", status, (limits, system)), None);
        assert_eq!(parse(stat, "", (limits, system)), None);
        let own = process_use().unwrap();
        assert!(
            own.resident_bytes > 1 << 20
                && own.open_descriptors > 2
                && own.started_us > 1_000_000_000_000_000
        );
    }
}
