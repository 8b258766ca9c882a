//! R14: readers in processes of their own beside a writing process that flushes, merges, is killed and started again.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use stratavec::{Collection, ErrorKind, OpenOptions, Verify};
use stratavec_tests::Errand;

use crate::kill::number_from_environment;

const READERS: usize = 4;
/// The writer is killed and started again so often.
const WRITER_LIVES: Duration = Duration::from_millis(2_500);
/// So many batches make it worth reading.
const ENOUGH: u64 = 200;

/// [C10] [C19] [C6] Four processes read what another writes, for 6 seconds or `STRATAVEC_READ_SECONDS`, a minute at the most where that
/// is too short for the writer: at every look everything
/// acknowledged before, whole batches in commit order, never less than the last time. One of them is stopped for a while.
/// A second writer is refused all the time.
#[test]
fn readers_in_other_processes_see_whole_prefixes_and_never_go_back() {
    read_for(number_from_environment("STRATAVEC_READ_SECONDS", 6));
}

/// The same for ten minutes, or `STRATAVEC_READ_SECONDS`.
#[test]
#[ignore = "takes ten minutes; make soak"]
fn soak_readers() {
    read_for(number_from_environment("STRATAVEC_READ_SECONDS", 600));
}

fn read_for(seconds: u64) {
    let place = tempfile::tempdir().expect("a temporary folder");
    let mut scene = Scene::start(place.path());
    let readers: Vec<Child> = (0..READERS).map(|_| scene.reader()).collect();
    let (started, whole) = (Instant::now(), Duration::from_secs(seconds));
    let (mut stopped, mut refused, mut lives) = (false, 0u64, 1u64);
    let mut born = Instant::now();
    let is_enough = |scene: &Scene| scene.acknowledged() > ENOUGH || started.elapsed() > Duration::from_secs(60);
    while started.elapsed() < whole || !is_enough(&scene) {
        std::thread::sleep(Duration::from_millis(50));
        let is_time = started.elapsed() > whole / 4 && started.elapsed() < whole * 3 / 4;
        if is_time != stopped {
            signal(&readers[0], if is_time { "STOP" } else { "CONT" });
            stopped = is_time;
        }
        let second = Collection::open(&scene.collection, OpenOptions::new());
        assert_eq!(second.err().map(|error| error.kind()), Some(ErrorKind::Locked), "a second writer");
        refused += 1;
        if born.elapsed() > WRITER_LIVES {
            scene.restart_writer();
            (born, lives) = (Instant::now(), lives + 1);
        }
    }
    signal(&readers[0], "CONT");
    scene.stop_writer();
    let acknowledged = scene.acknowledged();
    let (mut looks, mut news) = (0, 0);
    for reader in readers {
        let [l, n, seq] = report(reader);
        assert!(seq >= acknowledged, "a reader ends at batch {seq}, {acknowledged} was acknowledged");
        (looks, news) = (looks + l, news + n);
    }
    let verified = Collection::verify(&scene.collection, Verify::Full).expect("verify");
    assert!(verified.is_sound(), "{:?}", verified.findings);
    println!(
        "R14: {READERS} readers, {looks} looks, {news} with news, {acknowledged} batches by {lives} writers, {refused} second writers refused, 0 anomalies, {:.1} s",
        started.elapsed().as_secs_f64()
    );
    assert!(news > 20 * READERS as u64 && acknowledged > ENOUGH, "the readers hardly read");
}

/// A writing process and where it writes.
struct Scene {
    errand: Errand,
    collection: PathBuf,
    told: PathBuf,
    writer: Option<Child>,
}

impl Scene {
    fn start(place: &Path) -> Scene {
        let mut scene = Scene {
            errand: Errand { seed: 14 },
            collection: place.join("collection"),
            told: place.join("acknowledged"),
            writer: None,
        };
        std::fs::write(&scene.told, [0; 8]).expect("a file for acknowledgements");
        scene.restart_writer();
        scene
    }

    /// Kills the writer if there is one, starts another and waits for its first acknowledged batch: from then on it has the
    /// lock.
    fn restart_writer(&mut self) {
        self.stop_writer();
        let before = self.acknowledged();
        self.writer = Some(self.run(env!("CARGO_BIN_EXE_victim")).spawn().expect("a writer"));
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.acknowledged() <= before {
            assert!(Instant::now() < deadline, "the writer does not write");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn stop_writer(&mut self) {
        if let Some(mut writer) = self.writer.take() {
            assert!(writer.try_wait().expect("the writer's state").is_none(), "the writer has ended by itself");
            let _ = writer.kill();
            let _ = writer.wait();
        }
    }

    fn reader(&self) -> Child {
        self.run(env!("CARGO_BIN_EXE_reader")).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a reader")
    }

    fn run(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg(&self.collection).arg(self.errand.seed.to_string()).arg(&self.told).stdin(Stdio::piped());
        command
    }

    fn acknowledged(&self) -> u64 {
        let mut bytes = [0; 8];
        let file = File::open(&self.told).expect("the file of acknowledgements");
        file.read_exact_at(&mut bytes, 0).expect("a number");
        u64::from_le_bytes(bytes)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(mut writer) = self.writer.take() {
            let _ = writer.kill();
            let _ = writer.wait();
        }
    }
}

/// Ends a reader; its looks, those with news, and the last batch it saw.
fn report(reader: Child) -> [u64; 3] {
    // This closes its standard input.
    let output = reader.wait_with_output().expect("the reader's end");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<u64> = text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("three numbers, not {text:?}"))
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", child.id())).status();
    assert!(sent.expect("a shell").success(), "SIG{name} was not sent");
}
