//! Scrubs: damage that came after the files were opened.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use stratavec::{Background, Collection, ErrorKind, IdKind, Metric, OpenOptions, Schema, Scrub};

const ROWS: u64 = 2000;

fn make(path: &Path, options: OpenOptions) -> Collection {
    let c = Collection::create(path, Schema::new(32, Metric::L2).ids(IdKind::U64), options).unwrap();
    let mut batch = c.batch();
    for id in 0..ROWS {
        batch.upsert(id, &[id as f32 + 0.1; 32]);
    }
    batch.commit().unwrap();
    c.flush().unwrap();
    c.delete(7u64).unwrap();
    c.flush().unwrap();
    c
}

/// Inverts a bit of a file that is open and mapped.
fn rot(dir: &Path, prefix: &str) {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files = entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix));
    let file = files.next().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 16;
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(&file, bytes).unwrap();
}

/// [C14] Rows were read and proven; then the medium forgot. A search does not look twice, a scrub does.
#[test]
fn a_scrub_finds_what_rotted_after_it_was_read() {
    for prefix in ["row-", "idt-"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("idx");
        let c = make(&path, OpenOptions::default());
        let sound = c.scrub().unwrap().wait().unwrap();
        assert!(sound.findings.is_empty(), "{:?}", sound.findings);
        assert!(sound.files >= 3 && sound.bytes > ROWS * 128, "{sound:?}");
        rot(&path, prefix);
        let found = c.scrub().unwrap().wait().unwrap();
        assert_eq!(found.findings.len(), 1, "{:?}", found.findings);
        assert_eq!(found.findings[0].kind(), ErrorKind::Corrupt);
        assert!(found.findings[0].file().unwrap().starts_with(prefix));
        let stats = c.stats();
        assert_eq!((stats.scrub_passes, stats.scrub_findings.len()), (2, 1));
        assert!(stats.scrubbed_at.is_some() && stats.scrub_bytes == sound.bytes + found.bytes);
    }
}

#[test]
fn a_scrub_keeps_to_its_rate_and_can_be_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("idx");
    make(&path, OpenOptions::default()).close().unwrap();
    let options = |rate| OpenOptions::default().background(Background::Inline).scrub(Scrub::Rate(rate));
    let c = Collection::open(&path, options(1 << 20)).unwrap();
    let start = Instant::now();
    let report = c.scrub().unwrap().wait().unwrap();
    let least = report.bytes as f64 / f64::from(1 << 20);
    assert!(start.elapsed().as_secs_f64() >= least * 0.8, "{} bytes in {:?}", report.bytes, start.elapsed());
    c.close().unwrap();

    let c = Collection::open(&path, options(1 << 16)).unwrap();
    let start = Instant::now();
    let job = c.scrub().unwrap();
    while job.progress().done == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(job.progress().total >= ROWS * 128);
    job.cancel();
    assert_eq!(job.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(start.elapsed() < Duration::from_secs(3), "a cancelled scrub goes on");
    let error = Collection::open(&path, options(100)).unwrap_err();
    assert_eq!((error.kind(), error.argument_name()), (ErrorKind::InvalidArgument, Some("scrub")));
}

#[test]
fn a_scrub_in_the_background_tells_while_writes_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("idx");
    make(&path, OpenOptions::default()).close().unwrap();
    rot(&path, "row-");
    let c = Collection::open(&path, OpenOptions::default().scrub(Scrub::Rate(64 << 20))).unwrap();
    let start = Instant::now();
    while c.stats().scrub_findings.is_empty() {
        c.upsert(ROWS + 1, &[1.0; 32]).unwrap();
        assert!(start.elapsed() < Duration::from_secs(60), "the scrub has found nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    let start = Instant::now();
    c.close().unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "closing waits for the scrub");
}
