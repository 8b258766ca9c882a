//! `stratavec completions`

use clap::CommandFactory as _;

use crate::args::{self, Cli};
use crate::failure::Failure;
use crate::screen::Screen;

/// Prints what a shell needs to complete our command lines.
pub fn completions(args: &args::Completions, screen: &Screen) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "stratavec", &mut script);
    screen.line(String::from_utf8_lossy(&script).trim_end())
}
