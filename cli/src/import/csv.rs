//! Comma- or tab-separated values with a header line, quoted as in RFC 4180.
//!
//! The vector is one column (`0.1, 0.2` or `[0.1 0.2]`), or one column per component: with `--vector-field v` and no
//! column `v`, the columns `v0`, `v1`, ... (or `v_0`, `v.0`) in the order of the file.

use stratavec::{MAX_DIM, Value};

use super::field::{Fields, id_from_text};
use super::input::trim_line_end;
use super::{ImportError, ImportErrorKind, Input, Place, Record, RecordSource};

/// Most columns of a file: a component each, and room for others.
const MAX_COLUMNS: usize = MAX_DIM + 1024;

/// A file of separated values.
pub struct CsvSource {
    rows: Rows,
    fields: Fields,
    columns: Columns,
}

/// Where in a row the fields stand.
struct Columns {
    count: usize,
    id: Option<usize>,
    vector: Vec<usize>,
    attributes: Vec<usize>,
    payload: Option<usize>,
}

impl CsvSource {
    /// Reads the header line.
    ///
    /// # Errors
    /// `Options` naming a field that is no column, with the columns there are.
    pub fn new(input: Input, delimiter: u8, fields: Fields) -> Result<Self, ImportError> {
        let mut rows = Rows { input, delimiter, line: 0, lines_read: 0, text: Vec::new(), row: Row::default() };
        if !rows.read()? {
            return Err(ImportError::malformed(rows.input.name(), Place::Line(1), "there is no header line"));
        }
        if let Some(rest) = rows.row.text.strip_prefix('\u{feff}').map(str::to_owned) {
            let cut = rows.row.text.len() - rest.len();
            rows.row.text = rest;
            rows.row.ends.iter_mut().for_each(|end| *end = end.saturating_sub(cut));
        }
        let columns = Columns::find(&rows, &fields)?;
        Ok(CsvSource { rows, fields, columns })
    }

    fn value_error(&self, column: usize, what: &str) -> ImportError {
        ImportError::value(self.rows.input.name(), self.place(), format!("column {}: {what}", column + 1))
    }
}

impl Columns {
    fn find(rows: &Rows, fields: &Fields) -> Result<Columns, ImportError> {
        let header = &rows.row;
        let names: Vec<&str> = (0..header.len()).filter_map(|i| header.get(i)).map(str::trim).collect();
        let refuse = |message: String| {
            let shown: Vec<&str> = names.iter().copied().take(12).collect();
            let more = if names.len() > shown.len() { ", ..." } else { "" };
            ImportError::new(ImportErrorKind::Options, rows.input.name(), Place::Line(1), message)
                .with_hint(format!("the columns are: {}{more}", shown.join(", ")))
        };
        let column = |name: &str| {
            let mut found = (0..names.len()).filter(|i| names.get(*i) == Some(&name));
            match (found.next(), found.next()) {
                (Some(at), None) => Ok(at),
                (None, _) => Err(refuse(format!("there is no column {name:?}"))),
                (Some(_), Some(_)) => Err(refuse(format!("there are two columns {name:?}"))),
            }
        };
        let vector = match &fields.vector {
            None => Vec::new(),
            Some(name) if names.contains(&name.as_str()) => vec![column(name)?],
            Some(name) => {
                let numbered: Vec<usize> =
                    (0..names.len()).filter(|i| names.get(*i).is_some_and(|n| numbered(n, name))).collect();
                if numbered.is_empty() {
                    return Err(refuse(format!("there is no column {name:?} and none named {name}0, {name}1, ...")));
                }
                numbered
            }
        };
        Ok(Columns {
            count: names.len(),
            id: fields.id.as_deref().map(column).transpose()?,
            vector,
            attributes: fields.attributes.iter().map(|a| column(&a.name)).collect::<Result<_, _>>()?,
            payload: fields.payload.as_deref().map(column).transpose()?,
        })
    }
}

/// Whether `column` is `name` followed by a number.
fn numbered(column: &str, name: &str) -> bool {
    let rest = column.strip_prefix(name).map(|rest| rest.trim_start_matches(['_', '.', '-']));
    rest.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

impl RecordSource for CsvSource {
    fn read(&mut self, record: &mut Record) -> Result<bool, ImportError> {
        record.clear();
        if !self.rows.read()? {
            return Ok(false);
        }
        let (row, columns) = (&self.rows.row, &self.columns);
        if row.len() != columns.count {
            let message = format!("{} columns; the header has {}", row.len(), columns.count);
            return Err(ImportError::malformed(self.rows.input.name(), self.place(), message));
        }
        let text = |column: usize| row.get(column).unwrap_or_default();
        if let Some(column) = columns.id {
            let id = id_from_text(text(column), self.fields.ids);
            record.id = Some(id.map_err(|e| self.value_error(column, &format!("id {e}")))?);
        }
        for &column in &columns.vector {
            push_components(text(column), &mut record.vector).map_err(|e| self.value_error(column, &e))?;
        }
        for (&column, field) in columns.attributes.iter().zip(&self.fields.attributes) {
            let value = match text(column) {
                "" if field.kind != super::field::AttributeType::AsIs => Ok(Value::Null),
                text => field.kind.parse(text),
            };
            let value = value.map_err(|want| self.value_error(column, &format!("{:?} is not {want}", text(column))))?;
            record.attributes.insert(field.name.clone(), value);
        }
        record.payload = columns.payload.map(|column| text(column).as_bytes().to_vec());
        Ok(true)
    }

    fn place(&self) -> Place {
        Place::Line(self.rows.line)
    }

    fn name(&self) -> &str {
        self.rows.input.name()
    }
}

/// Appends the numbers of a cell to `vector`.
fn push_components(cell: &str, vector: &mut Vec<f32>) -> Result<(), String> {
    let cell = cell.trim();
    let cell = cell.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(cell);
    let words = cell.split(|c: char| c == ',' || c == ';' || c.is_whitespace()).filter(|word| !word.is_empty());
    for word in words {
        let x: f32 = word.parse().map_err(|_| format!("{word:?} is no number"))?;
        if vector.len() == MAX_DIM {
            return Err(format!("the vector has more than {MAX_DIM} components"));
        }
        vector.push(x);
    }
    Ok(())
}

/// One row, unquoted: all cells in one text, with the end of each.
#[derive(Default)]
struct Row {
    text: String,
    ends: Vec<usize>,
}

impl Row {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, column: usize) -> Option<&str> {
        let end = *self.ends.get(column)?;
        let start = column.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.text.get(start..end)
    }
}

/// Rows one after the other.
struct Rows {
    input: Input,
    delimiter: u8,
    /// The line the current row begins on, from 1.
    line: u64,
    lines_read: u64,
    text: Vec<u8>,
    row: Row,
}

impl Rows {
    /// Reads the next row that is not an empty line; `false` at the end.
    fn read(&mut self) -> Result<bool, ImportError> {
        self.text.clear();
        loop {
            self.line = self.lines_read + 1;
            if !self.piece()? {
                return Ok(false);
            }
            if !self.text.trim_ascii().is_empty() {
                break;
            }
            self.text.clear();
        }
        // A quote that is open at the end of a line goes on in the next one. The scan goes over each byte once.
        let (mut open, mut scanned) = (false, 0);
        loop {
            let quotes = self.text.get(scanned..).unwrap_or_default().iter().filter(|b| **b == b'"').count();
            open ^= quotes % 2 == 1;
            scanned = self.text.len();
            if !open {
                break;
            }
            if !self.piece()? {
                return Err(self.malformed("a quote is opened and never closed"));
            }
        }
        trim_line_end(&mut self.text);
        self.split()?;
        Ok(true)
    }

    fn piece(&mut self) -> Result<bool, ImportError> {
        let more = self.input.line_piece(&mut self.text, Place::Line(self.line))?;
        self.lines_read += u64::from(more);
        Ok(more)
    }

    fn split(&mut self) -> Result<(), ImportError> {
        let text = std::str::from_utf8(&self.text).map_err(|_| self.malformed("is not UTF-8 text"))?;
        let row = &mut self.row;
        row.text.clear();
        row.ends.clear();
        let delimiter = char::from(self.delimiter);
        let mut rest = text;
        loop {
            if row.ends.len() == MAX_COLUMNS {
                return Err(self.malformed("has too many columns"));
            }
            let after = match rest.strip_prefix('"') {
                None => {
                    let end = rest.find(delimiter).unwrap_or(rest.len());
                    row.text.push_str(rest.get(..end).unwrap_or_default());
                    rest.get(end..).unwrap_or_default()
                }
                Some(mut quoted) => loop {
                    let Some((before, behind)) = quoted.split_once('"') else {
                        return Err(self.malformed("a quote is opened and never closed"));
                    };
                    row.text.push_str(before);
                    match behind.strip_prefix('"') {
                        None => break behind,
                        Some(more) => {
                            row.text.push('"');
                            quoted = more;
                        }
                    }
                },
            };
            row.ends.push(row.text.len());
            match after.strip_prefix(delimiter) {
                Some(next) => rest = next,
                None if after.is_empty() => return Ok(()),
                None => return Err(self.malformed("text follows a closing quote")),
            }
        }
    }

    fn malformed(&self, what: &str) -> ImportError {
        ImportError::malformed(self.input.name(), Place::Line(self.line), what)
    }
}

#[cfg(test)]
mod tests {
    use stratavec::{Id, IdKind};

    use super::*;

    fn fields() -> Fields {
        Fields {
            ids: IdKind::Bytes,
            id: Some("id".into()),
            vector: Some("v".into()),
            attributes: ["lang", "year:i64"].iter().map(|a| a.parse().unwrap()).collect(),
            payload: Some("text".into()),
        }
    }

    fn read_all(text: &str) -> Result<Vec<Record>, ImportError> {
        let mut source = CsvSource::new(Input::from_bytes("a.csv", text), b',', fields())?;
        let (mut record, mut out) = (Record::default(), Vec::new());
        while source.read(&mut record)? {
            out.push(record.clone());
        }
        Ok(out)
    }

    fn error(text: &str) -> String {
        read_all(text).unwrap_err().to_string()
    }

    #[test]
    fn quoted_cells_keep_commas_quotes_and_line_ends() {
        let text = "\u{feff}id,v,lang,year,text\r\na,\"1, 2\",en,2024,\"say \"\"hi\"\",\nthen go\"\r\n\r\nb,[3 4],,,\n";
        let records = read_all(text).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].id, Some(Id::from("a")));
        assert_eq!(records[0].vector, [1.0, 2.0]);
        assert_eq!(records[0].payload.as_deref(), Some("say \"hi\",\nthen go".as_bytes()));
        assert_eq!(records[0].attributes["year"], Value::I64(2024));
        assert_eq!(records[1].vector, [3.0, 4.0]);
        assert_eq!(records[1].attributes["lang"], Value::String(String::new()));
        assert_eq!(records[1].attributes["year"], Value::Null);
    }

    #[test]
    fn one_column_per_component() {
        let text = "v0,v1,id,v_2,very,lang,year,text\n1,2,a,3,9,en,1,t\n";
        assert_eq!(read_all(text).unwrap()[0].vector, [1.0, 2.0, 3.0]);
    }

    #[test]
    fn every_refusal_names_the_line_a_row_begins_on() {
        let head = "id,v,lang,year,text\n";
        assert_eq!(error(&format!("{head}a,1,en,1,\"x\ny\"\nb,1\n")), "a.csv: line 4: 2 columns; the header has 5");
        assert_eq!(error(&format!("{head}a,1 x,en,1,t")), "a.csv: line 2: column 2: \"x\" is no number");
        assert_eq!(error(&format!("{head}a,1,en,soon,t")), "a.csv: line 2: column 4: \"soon\" is not a 64-bit integer");
        assert_eq!(error(&format!("{head}a,1,en,1,\"t")), "a.csv: line 2: a quote is opened and never closed");
        assert_eq!(error(&format!("{head}a,1,en,1,\"t\"x")), "a.csv: line 2: text follows a closing quote");
        assert_eq!(
            error(&format!("{head},1,en,1,t")),
            "a.csv: line 2: column 1: id id is 0 bytes long; use 1..=512 bytes"
        );
        let missing = read_all("id,w,lang,year,text\n").unwrap_err();
        assert_eq!(missing.message, "there is no column \"v\" and none named v0, v1, ...");
        assert_eq!(missing.hint.as_deref(), Some("the columns are: id, w, lang, year, text"));
        assert_eq!(missing.kind, ImportErrorKind::Options);
        assert_eq!(error(""), "a.csv: line 1: there is no header line");
    }

    #[test]
    fn a_quote_that_never_closes_stops_at_the_cap() {
        let text = format!("id,v,lang,year,text\n\"{}", "x\n".repeat(9 << 20));
        assert!(error(&text).contains("longer than 16 MiB"));
    }
}
