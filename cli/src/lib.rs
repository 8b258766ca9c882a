//! The command line of the Stratavec vector index engine, as a library: the binary is one call of [`run`].
//!
//! * [`args`]: what can be asked; `command`: one module per command, arguments -> engine call -> text or JSON.
//! * [`import`]: reads other people's files, bounded and without panics, so that tests and fuzzers can call it.
//! * [`dump`]: a collection as lines of JSON, and back.
//! * [`curve`]: what searches find and how fast, as a table, JSON and a picture.
//! * [`demo`]: the engine's main job on real data, with a writer that is killed.
//! * [`failure`], [`screen`], [`words`]: exit codes and errors, where output goes, how values read.

pub mod args;
mod command;
pub mod curve;
pub mod demo;
pub mod dump;
pub mod failure;
pub mod import;
pub mod screen;
pub mod trade;
pub mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use args::{Cli, Command};
use failure::{Exit, Failure};
use screen::{Screen, report};

/// Runs one command line, program name first, and says how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.len() < 2 {
        return finish(command::greet(), false);
    }
    match Cli::try_parse_from(&arguments) {
        Ok(cli) => {
            let screen = Screen::detect(cli.json, cli.quiet);
            finish(dispatch(cli.command, &screen), cli.json)
        }
        Err(error) => refuse(&error, &arguments),
    }
}

fn dispatch(command: Command, screen: &Screen) -> Result<(), Failure> {
    match command {
        Command::Create(args) => command::create(&args, screen),
        Command::Import(args) => command::import(&args, screen),
        Command::Search(args) => command::search(&args, screen),
        Command::Get(args) => command::get(&args, screen),
        Command::Delete(args) => command::delete(&args, screen),
        Command::Health(args) => command::health(&args, screen),
        Command::Stats(args) => command::stats(&args, screen),
        Command::Verify(args) => command::verify(&args, screen),
        Command::Compact(args) => command::compact(&args, screen),
        Command::Checkpoint(args) => command::checkpoint(&args, screen),
        Command::Repair(args) => command::repair(&args, screen),
        Command::Dump(args) => command::dump(&args, screen),
        Command::Load(args) => command::load(&args, screen),
        Command::Scrub(args) => command::scrub(&args, screen),
        Command::Tune(args) => command::tune(&args, screen),
        Command::Bench(args) => command::bench(&args, screen),
        Command::Upgrade(args) => command::upgrade(&args, screen),
        Command::Completions(args) => command::completions(&args, screen),
        Command::Demo(args) => demo::run(&args, screen),
        Command::DemoWriter(args) => demo::write(&args),
    }
}

fn finish(ended: Result<(), Failure>, json: bool) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.exit != Exit::Fine {
                report(&failure, json);
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Help and version go out as clap has them; usage errors in our own form.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match error.print() {
            // Whoever closed the pipe has read enough.
            Err(source) if source.kind() != std::io::ErrorKind::BrokenPipe => {
                finish(Err(Failure::io("write to", std::path::Path::new("standard output"), &source)), false)
            }
            _ => ExitCode::SUCCESS,
        };
    }
    let json = arguments.iter().any(|argument| argument == "--json");
    finish(Err(command::usage_failure(error, arguments)), json)
}
