//! Which instruction set the kernels use: found once per process, and lowered on request.

use std::sync::OnceLock;

use super::arch::Kernels;

/// Environment variable that forces a lower path: `scalar`, `avx2`, `avx512` or `neon`. An unknown word, or a path this machine
/// does not have, leaves the best available one in place. Read once, at the first use of a kernel.
pub const CPU_VARIABLE: &str = "STRATAVEC_CPU";

/// A set of instructions the kernels are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CpuPath {
    /// Plain Rust; the oracle for the others.
    Scalar,
    /// 128-bit vectors of 64-bit Arm.
    Neon,
    /// AVX2 with FMA and F16C: x86-64 since 2013.
    Avx2,
    /// AVX-512 F, BW, DQ, VL, VBMI, VNNI and VPOPCNTDQ: Ice Lake, Zen 4 and later.
    Avx512,
}

impl CpuPath {
    /// Every path, worst first, on any machine.
    pub const ALL: [CpuPath; 4] = [CpuPath::Scalar, CpuPath::Neon, CpuPath::Avx2, CpuPath::Avx512];

    /// The word used in [`CPU_VARIABLE`] and in reports.
    pub fn name(self) -> &'static str {
        match self {
            CpuPath::Scalar => "scalar",
            CpuPath::Neon => "neon",
            CpuPath::Avx2 => "avx2",
            CpuPath::Avx512 => "avx512",
        }
    }

    /// Whether this machine can run the path.
    pub fn available(self) -> bool {
        match self {
            CpuPath::Scalar => true,
            #[cfg(target_arch = "aarch64")]
            CpuPath::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "x86_64")]
            CpuPath::Avx2 => has_avx2(),
            #[cfg(target_arch = "x86_64")]
            CpuPath::Avx512 => has_avx2() && has_avx512(),
            _ => false,
        }
    }

    /// The best path of this machine, at most the one named by `wish`.
    fn choose(wish: Option<&str>) -> CpuPath {
        let wished = CpuPath::ALL.into_iter().find(|path| Some(path.name()) == wish && path.available());
        let best = CpuPath::ALL.into_iter().rev().find(|path| path.available());
        wished.or(best).unwrap_or(CpuPath::Scalar)
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("popcnt")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("avx512vpopcntdq")
}

/// The kernels of this process: the best path of the machine, or the lower one named by [`CPU_VARIABLE`].
pub fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let wish = std::env::var(CPU_VARIABLE).ok();
        let path = CpuPath::choose(wish.as_deref());
        Kernels::for_path(path).unwrap_or_else(Kernels::scalar)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_path_can_be_forced_and_nonsense_changes_nothing() {
        let best = CpuPath::choose(None);
        assert_eq!(CpuPath::choose(Some("scalar")), CpuPath::Scalar);
        assert_eq!(CpuPath::choose(Some("AVX2")), best);
        assert_eq!(CpuPath::choose(Some("")), best);
        for path in CpuPath::ALL {
            let expected = if path.available() { path } else { best };
            assert_eq!(CpuPath::choose(Some(path.name())), expected);
        }
    }

    #[test]
    fn a_table_exists_exactly_for_the_available_paths() {
        for path in CpuPath::ALL {
            assert_eq!(Kernels::for_path(path).map(|k| k.path()), path.available().then_some(path));
        }
    }
}
