//! What is shown to somebody who does not know the command yet, or mistyped it.

use std::ffi::OsString;

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::args::{Cli, EXAMPLES};
use crate::failure::{Exit, Failure};
use crate::screen::Screen;

/// A bare `stratavec`.
pub fn greet() -> Result<(), Failure> {
    let screen = Screen::detect(false, false);
    screen.line("Stratavec: vectors on disk, durable and searchable\n")?;
    screen.line(EXAMPLES)?;
    screen.line("\nAll commands: stratavec --help    A tour on real data: stratavec demo")
}

/// A usage error in our own form. A bare command (`stratavec import`) is answered with its three examples.
pub fn usage_failure(error: &clap::Error, arguments: &[OsString]) -> Failure {
    let text = error.render().to_string();
    let problem = text.split("\n\n").next().unwrap_or_default();
    let problem = problem.strip_prefix("error: ").unwrap_or(problem);
    let problem = problem.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let failure = Failure::new(Exit::Usage, "usage", problem);
    let root = Cli::command();
    let named = arguments.iter().skip(1).filter_map(|a| a.to_str()).find_map(|name| root.find_subcommand(name));
    let meant = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    let meant = meant.into_iter().find_map(|kind| error.get(kind)).map(|name| match name {
        // The likeliest of several stands last.
        ContextValue::Strings(names) => names.last().cloned().unwrap_or_default(),
        name => name.to_string(),
    });
    let meant = meant.map(|name| format!("did you mean {name}?"));
    match named {
        Some(command) if error.kind() == ErrorKind::MissingRequiredArgument && arguments.len() == 2 => {
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let mut lines = examples.lines().skip(1).map(str::trim);
            let mut failure = failure.hint(format!("for example: {}", lines.next().unwrap_or_default()));
            failure.more = lines.map(str::to_owned).collect();
            failure
        }
        Some(command) => failure.hint(meant.unwrap_or_else(|| format!("stratavec {} --help", command.get_name()))),
        None => failure.hint(meant.unwrap_or_else(|| "stratavec --help lists the commands".to_owned())),
    }
}
