//! As much of YAML as exporter-toolkit's file has: maps, lists and texts. What type a text is, its reader decides.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Nothing,
    Text(String),
    List(Vec<Node>),
    /// No key is there twice.
    Map(Vec<(String, Node)>),
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    /// The texts that have a name, by its number.
    anchors: HashMap<usize, String>,
}

/// Reads the first document.
///
/// # Errors
/// It is no YAML, or has what is not read here.
pub(super) fn parse(text: &str) -> Result<Node> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new() };
    loop {
        match reader.next()? {
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => {}
            Event::StreamEnd => return Ok(Node::Nothing),
            event => {
                let node = reader.node(event)?;
                // Whether there is something wrong behind it.
                return reader.next().map(|_| node);
            }
        }
    }
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Event<'t>> {
        let event = self.parser.next_event().context("it has no end")?;
        Ok(event.context("it is not YAML")?.0)
    }

    fn node(&mut self, event: Event<'t>) -> Result<Node> {
        Ok(match event {
            Event::Scalar(text, ScalarStyle::Plain, ..)
                if matches!(&*text, "" | "~" | "null" | "Null" | "NULL") =>
            {
                Node::Nothing
            }
            Event::Scalar(text, _, anchor, _) => {
                self.anchors.insert(anchor, text.clone().into_owned());
                Node::Text(text.into_owned())
            }
            // Of texts only: maps that hold each other a few times over would fill the memory.
            Event::Alias(anchor) => {
                let text = self.anchors.get(&anchor).filter(|_| anchor > 0);
                Node::Text(text.context("expected an alias of a text")?.clone())
            }
            Event::SequenceStart(..) => {
                let mut list = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break Node::List(list),
                        event => list.push(self.node(event)?),
                    }
                }
            }
            Event::MappingStart(..) => self.map()?,
            event => bail!("expected a value instead of {event:?}"),
        })
    }

    fn map(&mut self) -> Result<Node> {
        let mut map: Vec<(String, Node)> = Vec::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(Node::Map(map)),
                event => match self.node(event)? {
                    Node::Text(key) => key,
                    other => bail!("expected a text as key instead of {other:?}"),
                },
            };
            if map.iter().any(|(other, _)| *other == key) {
                bail!("{key} is there twice");
            }
            let event = self.next()?;
            map.push((key, self.node(event)?));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Node {
        Node::Text(text.to_owned())
    }

    #[test]
    fn maps_lists_and_texts_are_read_in_every_style() {
        let read = parse(
            "# c\na: {b: [x, 'y: z', \"\\n\"], c: ~}\nd:\n- 1\n- true\ne: &n |\n  l\n  m\nf: *n\n",
        );
        let inner = vec![
            ("b".to_owned(), Node::List(vec![text("x"), text("y: z"), text("\n")])),
            ("c".to_owned(), Node::Nothing),
        ];
        let expected = vec![
            ("a".to_owned(), Node::Map(inner)),
            ("d".to_owned(), Node::List(vec![text("1"), text("true")])),
            ("e".to_owned(), text("l\nm\n")),
            ("f".to_owned(), text("l\nm\n")),
        ];
        assert_eq!(read.ok(), Some(Node::Map(expected)));
        for empty in ["", "# nothing\n", "---\n", "---\n...\n", "null"] {
            assert_eq!(parse(empty).ok(), Some(Node::Nothing), "{empty:?}");
        }
    }

    #[test]
    fn what_is_no_yaml_or_too_clever_is_refused_with_one_line() {
        let deep = "[".repeat(10_000);
        let indented: String = (0..300).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        for bad in [
            "a: b: c",
            "a: [",
            "a: b\n]",
            "a: 1\na: 2",
            "? [a]\n: b",
            "a: &x [b]\nc: *x",
            "a: *x",
            "\"a",
            "%YAML",
            &deep,
        ] {
            let error = parse(bad).map_err(|error| format!("{error:#}"));
            assert!(error.as_ref().is_err_and(|error| !error.contains('\n')), "{error:?}");
        }
        assert!(parse(&indented).is_ok());
    }
}
