//! One writer at a time, in this process and among others. [C19]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use stratavec::{Collection, Error, ErrorKind};

use super::scene::{inline, plain};

const PATH: &str = "STRATAVEC_TEST_HOLD";

/// Not a test of its own: what the other process does. Opens the collection, says so, and holds it until it is killed or
/// its input ends.
#[test]
fn hold_for_another_process() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let c = Collection::open_or_create(path, plain(), inline()).expect("open");
    c.upsert(u64::from(std::process::id()), &[1.0, 1.0]).expect("upsert");
    println!("held");
    std::io::stdout().flush().expect("say so");
    let _ = std::io::stdin().read_line(&mut String::new());
    drop(c);
}

/// Another process that has the collection open for writing.
fn holder(path: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "writers::hold_for_another_process", "--nocapture"])
        .env(PATH, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("another process");
    let lines = BufReader::new(child.stdout.as_mut().expect("its output")).lines();
    let held = lines.map_while(Result::ok).any(|line| line.ends_with("held"));
    assert!(held, "the other process could not open the collection");
    child
}

fn locked(error: &Error, pid: u32) {
    assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    assert!(error.to_string().contains(&format!("process {pid}")), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn a_second_writer_is_refused_at_once_whichever_call_it_makes() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let path = place.path().join("c");
    let c = Collection::create(&path, plain(), inline()).expect("create");
    let began = std::time::Instant::now();
    for _ in 0..100 {
        locked(&Collection::open(&path, inline()).expect_err("open"), std::process::id());
    }
    let error = Collection::open_or_create(&path, plain(), inline()).expect_err("open_or_create");
    locked(&error, std::process::id());
    assert!(began.elapsed().as_secs() < 2, "nothing waited");
    c.upsert(1u64, &[1.0, 1.0]).expect("the first is not disturbed");
    let report = Collection::verify(&path, stratavec::Verify::Full).expect("verify needs no lock");
    assert!(report.is_sound(), "{:?}", report.findings);
    drop(c);
    drop(Collection::open(&path, inline()).expect("open"));
}

#[test]
fn the_lock_of_another_process_names_it_and_ends_with_it_however_it_ends() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let path = place.path().join("c");
    let mut rows = 0;
    for killed in [true, false, true] {
        let mut other = holder(&path);
        locked(&Collection::open(&path, inline()).expect_err("open"), other.id());
        match killed {
            true => other.kill().expect("kill"),
            false => drop(other.stdin.take()),
        }
        other.wait().expect("its end");
        rows += 1;
        let c = Collection::open(&path, inline()).expect("open at once after its end");
        assert_eq!(c.snapshot().count(), rows);
        assert!(c.snapshot().contains(u64::from(other.id())).expect("contains"), "what it wrote is there");
        drop(c);
    }
}

#[test]
fn of_many_that_open_at_once_one_succeeds() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let path = place.path().join("c");
    drop(Collection::create(&path, plain(), inline()).expect("create"));
    let opened: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Collection::open(&path, inline()))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread")).collect()
    });
    assert_eq!(opened.iter().filter(|result| result.is_ok()).count(), 1);
    for error in opened.iter().filter_map(|result| result.as_ref().err()) {
        // The one that succeeds may not have written its number yet: then the message does without, as nobody waits for it.
        match error.to_string().contains("another process") {
            true => assert!(error.kind() == ErrorKind::Locked && error.hint().is_some(), "{error}"),
            false => locked(error, std::process::id()),
        }
    }
    locked(&Collection::open(&path, inline()).expect_err("open"), std::process::id());
}

#[test]
fn of_many_that_create_at_once_one_succeeds_and_the_others_harm_nothing() {
    for _ in 0..5 {
        let place = tempfile::tempdir().expect("a temporary folder");
        let path = place.path().join("c");
        let made: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..6).map(|_| scope.spawn(|| Collection::create(&path, plain(), inline()))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a thread")).collect()
        });
        let kinds: Vec<_> = made.iter().filter_map(|result| result.as_ref().err()).map(Error::kind).collect();
        let fair = [ErrorKind::Locked, ErrorKind::InvalidArgument];
        assert!(kinds.len() == 5 && kinds.iter().all(|kind| fair.contains(kind)), "{kinds:?}");
        for c in made.into_iter().flatten() {
            c.upsert(1u64, &[1.0, 1.0]).expect("upsert");
            c.close().expect("close");
        }
        assert_eq!(Collection::open(&path, inline()).expect("open").snapshot().count(), 1);
    }
}
