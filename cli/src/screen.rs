//! Where output goes: results to standard output, remarks to standard error, decoration to terminals only.

use std::env;
use std::io::{self, IsTerminal, Write};

use serde_json::Value as Json;

use crate::failure::{Failure, printable};

/// Columns that are assumed where nobody says how wide the terminal is.
const USUAL_WIDTH: usize = 100;

/// How and what to print.
#[derive(Clone, Debug)]
pub struct Screen {
    /// Print JSON, one document per result, and nothing else.
    pub json: bool,
    /// Print results only.
    pub quiet: bool,
    /// Standard output is a terminal.
    pub terminal: bool,
    colors: bool,
    width: usize,
}

/// What a piece of text is, as far as colours go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Headings and what matters most.
    Strong,
    /// Labels and remarks.
    Faint,
    /// All is well.
    Good,
    /// Something is wrong.
    Bad,
}

impl Screen {
    /// The screen of this process.
    pub fn detect(json: bool, quiet: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        Screen { json, quiet, terminal, colors: terminal && colors_wanted(), width: width() }
    }

    /// Prints a line of a result.
    ///
    /// # Errors
    /// The end of the command if nobody reads any more.
    pub fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        write_line(io::stdout(), text.as_ref())
    }

    /// Prints a line for people; not in JSON mode.
    ///
    /// # Errors
    /// As [`Screen::line`].
    pub fn tell(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        if self.json { Ok(()) } else { self.line(text) }
    }

    /// Prints a remark that only somebody who watches wants: not when piped, not in JSON mode, not when quiet.
    ///
    /// # Errors
    /// As [`Screen::line`].
    pub fn remark(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        if self.json || self.quiet || !self.terminal {
            return Ok(());
        }
        self.line(self.paint(Tone::Faint, text.as_ref()))
    }

    /// Prints one JSON document on one line.
    ///
    /// # Errors
    /// As [`Screen::line`].
    pub fn document(&self, document: &Json) -> Result<(), Failure> {
        self.line(document.to_string())
    }

    /// Colours a text if the terminal wants colours.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.colors {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Bad => "31",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// One line of foreign text: control characters escaped; cut to what is left of the line beside `used` columns on
    /// a terminal, whole elsewhere.
    pub fn fit(&self, text: &str, used: usize) -> String {
        let text = printable(text);
        let room = self.width.saturating_sub(used).max(16);
        if !self.terminal || text.chars().count() <= room {
            return text;
        }
        let mut cut: String = text.chars().take(room - 1).collect();
        cut.truncate(cut.trim_end().len());
        cut + "…"
    }
}

/// Prints a failure to standard error in the form that was asked for.
pub fn report(failure: &Failure, json: bool) {
    let mut text = if json { failure.json() } else { failure.text() };
    if !json && io::stderr().is_terminal() && colors_wanted() {
        for (word, code) in [("error:", "1;31"), ("cause:", "33"), ("hint:", "36")] {
            let painted = format!("\u{1b}[{code}m{word}\u{1b}[0m");
            let lines = text.lines().map(|line| match line.strip_prefix(word) {
                Some(rest) => format!("{painted}{rest}"),
                None => line.to_owned(),
            });
            text = lines.collect::<Vec<_>>().join("\n");
        }
    }
    // Nobody is left to hear about a standard error that is closed.
    let _ = writeln!(io::stderr(), "{text}");
}

fn write_line(mut out: impl Write, text: &str) -> Result<(), Failure> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(Failure::closed_pipe()),
        Err(e) => Err(Failure::failed("cannot write to standard output").because(e.to_string())),
    }
}

/// NO_COLOR set to anything but the empty text, or a terminal without colours: none.
fn colors_wanted() -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn width() -> usize {
    let asked = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok().map(|size| usize::from(size.ws_col));
    let told = || env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    asked.filter(|columns| *columns > 0).or_else(told).unwrap_or(USUAL_WIDTH).max(40)
}
