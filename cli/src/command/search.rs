//! `stratavec search`

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use stratavec::{Access, Collection, Effort, Filter, Follower, Hit, Hits, Id, IdKind, Include};

use crate::args::{self, Part, RowRange};
use crate::failure::Failure;
use crate::import::ids::IdSource;
use crate::import::{self, Extras, Fields, Input, Record};
use crate::screen::{Screen, Tone};
use crate::words;

/// Finds the rows nearest to a vector, or to each vector of a file.
pub fn search(args: &args::Search, screen: &Screen) -> Result<(), Failure> {
    let path = &args.collection;
    let access = if args.pread { Access::Pread } else { Access::Mmap };
    let collection = Collection::open_read_only_with(path, access).map_err(|e| Failure::engine(&e, path))?;
    let question = Question::new(args, &collection)?;
    if let Some(text) = &args.vector {
        let vector = parse_vector(text)?;
        return question.ask(None, &vector, screen);
    }
    if let Some(text) = &args.like {
        let ids = super::parse_ids([text.as_str()], collection.schema().id_kind())?;
        for id in &ids {
            let vector = super::get::vector_of(id, &collection)?;
            question.leaving_out(id).ask(None, &vector, screen)?;
        }
        return Ok(());
    }
    let Some(file) = &args.file else { return Err(Failure::usage("there is no query")) };
    let rows = args.row.unwrap_or(RowRange { start: 0, end: u64::MAX });
    ask_file(file, rows, args, &question, screen)
}

fn ask_file(
    file: &Path,
    rows: RowRange,
    args: &args::Search,
    question: &Question<'_>,
    screen: &Screen,
) -> Result<(), Failure> {
    let fields = Fields {
        ids: question.collection.schema().id_kind(),
        id: None,
        vector: Some(args.vector_field.clone()),
        attributes: Vec::new(),
        payload: None,
    };
    let mut queries = import::open(file, args.format, &fields, Extras::default())?.source;
    let mut record = Record::default();
    let mut row = 0;
    while row < rows.end && queries.read(&mut record)? {
        if row >= rows.start {
            question.ask(Some(row), &record.vector, screen)?;
        }
        row += 1;
    }
    if row <= rows.start {
        let problem = format!("there is no row {} in {}", rows.start, file.display());
        return Err(Failure::usage(problem).because(format!("the file has {}", words::counted(row, "record"))));
    }
    Ok(())
}

/// Everything about a search but its vector.
#[derive(Clone)]
struct Question<'c> {
    collection: &'c Follower,
    path: &'c Path,
    k: usize,
    effort: Effort,
    max_distance: Option<f32>,
    filter: Option<Filter>,
    include: Include,
}

impl<'c> Question<'c> {
    fn new(args: &'c args::Search, collection: &'c Follower) -> Result<Self, Failure> {
        let mut include = Include::NONE;
        for part in &args.include {
            include = include
                | match part {
                    Part::Attributes => Include::ATTRIBUTES,
                    Part::Payload => Include::PAYLOAD,
                    Part::Vector => Include::VECTOR,
                    Part::None => Include::NONE,
                };
        }
        let filter = match &args.filter_ids {
            None => None,
            Some(text) => Some(Filter::ids(filter_ids(text, collection.schema().id_kind())?)),
        };
        let (k, max_distance) = (args.k, args.max_distance);
        let effort = match (args.recall, args.confidence, args.nprobe) {
            _ if args.exact => Effort::Exact,
            (Some(part), ..) => Effort::Recall(part),
            (_, Some(part), _) => Effort::Confidence(part),
            (_, _, Some(nprobe)) => Effort::Probe { nprobe, patience: args.patience.unwrap_or(usize::MAX) },
            _ => Effort::default(),
        };
        Ok(Question { collection, path: &args.collection, k, effort, max_distance, filter, include })
    }

    fn leaving_out(&self, id: &Id) -> Question<'c> {
        let others = !Filter::ids([id.clone()]);
        let filter = match self.filter.clone() {
            Some(filter) => filter & others,
            None => others,
        };
        Question { filter: Some(filter), ..self.clone() }
    }

    fn ask(&self, row: Option<u64>, vector: &[f32], screen: &Screen) -> Result<(), Failure> {
        let snapshot = self.collection.snapshot();
        let mut search = snapshot.search(vector).k(self.k).effort(self.effort).include(self.include);
        if let Some(distance) = self.max_distance {
            search = search.max_distance(distance);
        }
        if let Some(filter) = &self.filter {
            search = search.filter(filter.clone());
        }
        let start = Instant::now();
        let hits = search.run().map_err(|e| Failure::engine(&e, self.path))?;
        let time = start.elapsed();
        if screen.json {
            return screen.document(&answer_json(row, &hits, time));
        }
        if let Some(row) = row {
            screen.line(screen.paint(Tone::Strong, &format!("query {row}")))?;
        }
        show_hits(&hits, screen, "")?;
        let explain = hits.explain();
        let lists = match explain.lists_probed {
            0 => String::new(),
            probed => {
                let estimated = explain.entries_scanned.saturating_add(explain.fresh_scanned);
                format!(", {} estimated in {}", words::count(estimated), words::counted(probed, "list"))
            }
        };
        let estimates = if hits.all_exact() { "" } else { "; distances are estimates" };
        screen.remark(format!(
            "{} of {} in {}, {} scored{lists}{estimates}",
            hits.len(),
            words::counted(snapshot.count(), "row"),
            words::time(time),
            words::count(explain.rows_scored)
        ))
    }
}

/// One line per hit: distance, id, attributes, payload.
pub fn show_hits(hits: &[Hit], screen: &Screen, indent: &str) -> Result<(), Failure> {
    let ids: Vec<String> = hits.iter().map(|hit| words::id(&hit.id)).collect();
    let width = ids.iter().map(|id| id.chars().count()).max().unwrap_or(0).min(40);
    for (hit, id) in hits.iter().zip(&ids) {
        let mut parts = Vec::new();
        if let Some(attributes) = hit.attributes.as_ref().filter(|a| !a.is_empty()) {
            parts.push(words::attributes(attributes));
        }
        if let Some(payload) = &hit.payload {
            parts.push(words::payload(payload));
        }
        if let Some(vector) = &hit.vector {
            parts.push(words::vector(vector));
        }
        let start = format!("{indent}{:>8.4}  {id:<width$}", hit.distance);
        let rest = screen.fit(&parts.join("  "), start.chars().count() + 2);
        screen.line(format!("{start}  {rest}").trim_end())?;
    }
    Ok(())
}

fn answer_json(row: Option<u64>, hits: &Hits, time: Duration) -> Json {
    let explain = hits.explain();
    let found: Vec<Json> = hits.iter().map(hit_json).collect();
    let mut answer = json!({
        "hits": found,
        "seq": explain.seq,
        "rows_scored": explain.rows_scored,
        "lists_probed": explain.lists_probed,
        "entries_scanned": explain.entries_scanned,
        "fresh_scanned": explain.fresh_scanned,
        "cut_short": explain.cut_short,
        "ms": time.as_secs_f64() * 1e3,
    });
    if let (Some(row), Some(answer)) = (row, answer.as_object_mut()) {
        answer.insert("query".into(), json!(row));
    }
    answer
}

fn hit_json(hit: &Hit) -> Json {
    let mut object = serde_json::Map::new();
    object.insert("id".into(), words::id_json(&hit.id));
    object.insert("distance".into(), json!(hit.distance));
    object.insert("exact".into(), json!(hit.exact));
    if let Some(vector) = &hit.vector {
        object.insert("vector".into(), json!(vector));
    }
    if let Some(attributes) = &hit.attributes {
        object.insert("attributes".into(), words::attributes_json(attributes));
    }
    if let Some(payload) = &hit.payload {
        object.insert("payload".into(), words::text_json(payload));
    }
    object.into()
}

fn parse_vector(text: &str) -> Result<Vec<f32>, Failure> {
    let parsed: Result<Vec<f32>, _> = serde_json::from_str(text);
    parsed.map_err(|e| {
        Failure::usage("--vector is no JSON array of numbers")
            .because(e.to_string())
            .hint("like this: --vector '[0.1, -0.2, 0.3]'")
    })
}

fn filter_ids(text: &str, kind: IdKind) -> Result<Vec<Id>, Failure> {
    let Some(file) = text.strip_prefix('@') else {
        return super::parse_ids(text.split(',').filter(|id| !id.is_empty()), kind);
    };
    let mut source = IdSource::new(Input::open(Path::new(file))?, kind)?;
    let mut ids = Vec::new();
    while let Some(id) = source.next_id()? {
        ids.push(id);
    }
    Ok(ids)
}
