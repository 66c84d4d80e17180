//! From the events of the parser to trees, within budgets.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::cover::{self, Cover, is_secret};
use super::{Key, Node, NodeValue, Scalar, Style};
use crate::diagnostic::{Code, Diagnostic, SourceFile, Spot};

/// Levels of lists and mappings at most.
const MAX_DEPTH: usize = 32;

/// Documents in one file at most.
const MAX_DOCUMENTS: usize = 1_000;

/// Scalars, lists and mappings of one file at most, those that aliases repeat included.
const MAX_NODES: usize = 100_000;

/// Problems of one document at most.
const MAX_PROBLEMS: usize = 100;

/// A scalar counts as one node, and one more for each of so many bytes.
const TEXT_BYTES_PER_NODE: usize = 64;

/// One document of a file.
#[derive(Debug)]
pub(crate) struct Document {
    /// Its content.
    pub(crate) root: Node,
    /// What is wrong with it already: duplicate keys, odd tags.
    pub(crate) problems: Vec<Diagnostic>,
}

/// What could be read of a file.
#[derive(Debug)]
pub(crate) struct Documents {
    /// The file to point into: secrets in it are covered.
    pub(crate) file: Arc<SourceFile>,
    /// The documents that could be read, except empty ones.
    pub(crate) documents: Vec<Document>,
    /// Why others could not be read.
    pub(crate) problems: Vec<Diagnostic>,
}

/// Reads all documents of a file. `cover`: where a value counts as a secret by its key.
pub(crate) fn read(file: &Arc<SourceFile>, cover: Cover) -> Documents {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH * 2,
        block_nesting_limit: MAX_DEPTH * 2,
    };
    let mut builder = Builder {
        file,
        parser: Parser::new_from_str_with_options(&file.text, options),
        anchors: HashMap::new(),
        nodes: 0,
        problems: Vec::new(),
        cover,
        path: Vec::new(),
        secrets: Vec::new(),
    };
    let mut read = Documents { file: Arc::clone(file), documents: Vec::new(), problems: Vec::new() };
    let mut ended_early = false;
    let mut documents = 0;
    loop {
        let built = match builder.parser.next() {
            None => break,
            Some(Err(error)) => Err(Stop::Syntax(Box::new(error))),
            Some(Ok((event, span))) if is_node(&event) => builder.node(event, &span, 0),
            Some(Ok((Event::DocumentStart(..), span))) => {
                builder.anchors.clear();
                documents += 1;
                if documents <= MAX_DOCUMENTS {
                    continue;
                }
                Err(builder
                    .too_large(range(&span), format!("more than {MAX_DOCUMENTS} documents in one file")))
            }
            Some(Ok(_)) => continue,
        };
        match built {
            Ok(root) => {
                let problems = std::mem::take(&mut builder.problems);
                if !root.is_null() {
                    read.documents.push(Document { root, problems });
                }
            }
            Err(stop) => {
                ended_early = true;
                builder.path.clear();
                // What was wrong before the end came is still wrong.
                read.problems.append(&mut builder.problems);
                let recoverable = matches!(stop, Stop::Syntax(_));
                read.problems.push(builder.diagnose(stop));
                if !recoverable || !matches!(builder.parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
    }
    let mut secrets = builder.secrets;
    if ended_early {
        // There is no tree of what was passed over: its lines are looked at as they stand.
        secrets.extend(cover::in_text(&file.text));
    }
    if !secrets.is_empty() {
        read.file = cover::covered(file, &secrets);
        let problems = read.documents.iter_mut().flat_map(|document| &mut document.problems);
        problems.chain(&mut read.problems).for_each(|problem| problem.point_into(&read.file));
    }
    read
}

fn is_node(event: &Event<'_>) -> bool {
    matches!(event, Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) | Event::Alias(_))
}

fn range(span: &Span) -> Range<usize> {
    span.byte_range().unwrap_or(0..0)
}

/// Why a document ended early.
enum Stop {
    Syntax(Box<ScanError>),
    Budget(Box<Diagnostic>),
}

struct Builder<'a> {
    file: &'a Arc<SourceFile>,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    problems: Vec<Diagnostic>,
    cover: Cover,
    /// Keys down to the value that is being read.
    path: Vec<String>,
    /// Where secrets stand.
    secrets: Vec<Range<usize>>,
}

impl<'a> Builder<'a> {
    /// The node that begins with this event.
    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Node, Stop> {
        let start = range(span);
        if depth > MAX_DEPTH {
            return Err(
                self.too_large(start, format!("lists and mappings are nested more than {MAX_DEPTH} deep"))
            );
        }
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let mut style = if style == ScalarStyle::Plain { Style::Plain } else { Style::Quoted };
                if self.tag(tag.as_deref(), span) {
                    style = Style::Quoted;
                }
                (self.leaf(NodeValue::Scalar(Scalar { text: text.into_owned(), style }), start)?, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), span);
                (self.list(start, depth)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), span);
                (self.map(start, depth)?, anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    let problem =
                        Diagnostic::at(Code::Syntax, &self.spot(start), "an alias that contains itself");
                    return Err(Stop::Budget(Box::new(problem)));
                };
                self.count(node.nodes, &start)?;
                (node, 0)
            }
            _ => return Err(self.too_large(start, "an event that is no node".to_owned())),
        };
        if anchor != 0 {
            // The copy counts: anchors without aliases could otherwise hold a tree for each level.
            self.count(node.nodes, &node.range)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, start: Range<usize>, depth: usize) -> Result<Node, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return self.leaf(NodeValue::List(items), start.start..range(&span).end);
            }
            items.push(self.node(event, &span, depth + 1)?);
        }
    }

    fn map(&mut self, start: Range<usize>, depth: usize) -> Result<Node, Stop> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut known: HashMap<String, Range<usize>> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return self.leaf(NodeValue::Map(entries), start.start..range(&span).end);
            }
            let key_node = self.node(event, &span, depth + 1)?;
            let (event, span) = self.next()?;
            self.path.push(match &key_node.value {
                NodeValue::Scalar(scalar) => scalar.text.clone(),
                NodeValue::List(_) | NodeValue::Map(_) => String::new(),
            });
            let mut value = self.node(event, &span, depth + 1)?;
            if is_secret(&self.path, &value, self.cover) {
                self.secrets.push(value.range.clone());
            }
            self.path.pop();
            let NodeValue::Scalar(Scalar { text: name, .. }) = key_node.value else {
                let spot = self.spot(key_node.range);
                self.report(Diagnostic::at(Code::WrongType, &spot, "a key must be a text"));
                continue;
            };
            if let Some(first) = known.get(&name) {
                let (spot, first) = (self.spot(key_node.range), self.spot(first.clone()));
                self.report(
                    Diagnostic::at(
                        Code::DuplicateKey,
                        &spot,
                        format!("key `{name}` stands twice in one mapping"),
                    )
                    .related(&first, "first here")
                    .help("remove one of them"),
                );
                continue;
            }
            known.insert(name.clone(), key_node.range.clone());
            value.head = key_node.range.clone();
            entries.push((Key { name, range: key_node.range }, value));
        }
    }

    fn leaf(&mut self, value: NodeValue, range: Range<usize>) -> Result<Node, Stop> {
        self.count(1, &range)?;
        let inside: usize = match &value {
            // An alias must not repeat a long text for the price of a short one.
            NodeValue::Scalar(scalar) => scalar.text.len() / TEXT_BYTES_PER_NODE,
            NodeValue::List(items) => items.iter().map(|item| item.nodes).sum(),
            NodeValue::Map(entries) => entries.iter().map(|(_, value)| value.nodes + 1).sum(),
        };
        Ok(Node { value, head: range.clone(), range, nodes: inside + 1 })
    }

    fn count(&mut self, nodes: usize, range: &Range<usize>) -> Result<(), Stop> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} values in one file, aliases counted each time");
            return Err(self.too_large(range.clone(), message));
        }
        Ok(())
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        loop {
            match self.parser.next() {
                Some(Ok((event, span)))
                    if is_node(&event) || matches!(event, Event::SequenceEnd | Event::MappingEnd) =>
                {
                    return Ok((event, span));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Stop::Syntax(Box::new(error))),
                None => return Err(self.too_large(0..0, "the file ends within a value".to_owned())),
            }
        }
    }

    /// Whether a tag makes a scalar a text. Tags of other vocabularies are refused.
    fn tag(&mut self, tag: Option<&Tag>, span: &Span) -> bool {
        let Some(tag) = tag else { return false };
        if tag.is_yaml_core_schema() {
            return tag.is_yaml_core_schema_tag("str");
        }
        let at = span.tag_span().map_or_else(|| range(span), |span| range(&span));
        let spot = self.spot(at);
        self.report(
            Diagnostic::at(Code::WrongType, &spot, format!("tag `{}` has no meaning here", tag.original()))
                .help("remove the tag, or put the text in quotes"),
        );
        false
    }

    fn report(&mut self, problem: Diagnostic) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn diagnose(&self, stop: Stop) -> Diagnostic {
        match stop {
            Stop::Budget(problem) => *problem,
            Stop::Syntax(error) if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) => {
                let at = error.marker().byte_offset().unwrap_or(0);
                let message = format!("lists and mappings are nested more than {MAX_DEPTH} deep");
                Diagnostic::at(Code::TooLarge, &self.spot(at..at), message)
            }
            Stop::Syntax(error) => {
                let at = error.marker().byte_offset().unwrap_or(0);
                // The parser notices many mistakes only at the end of the file: an empty line says nothing there.
                let text = &self.file.text;
                let at = if at >= text.len() { text.trim_end().len() } else { at };
                Diagnostic::at(Code::Syntax, &self.spot(at..at), format!("not valid YAML: {}", error.info()))
                    .help("everything up to the next `---` is passed over")
            }
        }
    }

    fn too_large(&self, range: Range<usize>, message: String) -> Stop {
        Stop::Budget(Box::new(Diagnostic::at(Code::TooLarge, &self.spot(range), message)))
    }

    fn spot(&self, range: Range<usize>) -> Spot {
        Spot::new(self.file, range)
    }
}
