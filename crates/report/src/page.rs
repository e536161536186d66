//! The page: one HTML file that needs nothing else.

use std::fmt::Write as _;

use crate::text::escaped;
use crate::{LineChart, Panel, Table};

/// The line that every page carries.
pub const NOT_FOR_CLINICAL_USE: &str = "Research software. Not for clinical use.";

/// A report as one self-contained HTML page.
///
/// Everything is inside the file: pictures as data, charts as SVG, style as text, no script; the page's own security
/// policy forbids it to load anything.
///
/// ```
/// use synthct_report::{Report, Section};
/// let page = Report::new("Evaluation <draft>").fact("Cases", "3").section(Section::new("Errors").paragraph("None."));
/// assert!(page.to_html().contains("Evaluation &lt;draft&gt;"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    title: String,
    intro: Vec<String>,
    facts: Vec<(String, String)>,
    sections: Vec<Section>,
}

/// A part of a report under one heading.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    heading: String,
    blocks: Vec<Block>,
}

#[derive(Clone, Debug, PartialEq)]
enum Block {
    Paragraph(String),
    List(Vec<String>),
    Facts(Vec<(String, String)>),
    Table(Table),
    Panel(Panel),
    Chart(LineChart),
}

impl Report {
    /// A report without content.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), intro: Vec::new(), facts: Vec::new(), sections: Vec::new() }
    }

    /// With a paragraph more below the title.
    pub fn intro(mut self, text: impl Into<String>) -> Self {
        self.intro.push(text.into());
        self
    }

    /// With one more line of provenance: what was run, on what, by which version.
    pub fn fact(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.facts.push((name.into(), value.into()));
        self
    }

    /// With one section more.
    pub fn section(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }

    /// The page.
    pub fn to_html(&self) -> String {
        let title = escaped(&self.title);
        let mut out = String::with_capacity(1 << 16);
        let _ = write!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
             style-src 'unsafe-inline'\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <p class=\"banner\" role=\"note\">⚠ {NOT_FOR_CLINICAL_USE}</p>\n<header>\n<h1>{title}</h1>\n"
        );
        for text in &self.intro {
            let _ = writeln!(out, "<p class=\"intro\">{}</p>", escaped(text));
        }
        write_facts(&mut out, &self.facts);
        out.push_str("</header>\n");
        if self.sections.len() > 2 {
            out.push_str("<nav aria-label=\"Contents\"><ol>\n");
            for (n, section) in self.sections.iter().enumerate() {
                let _ = writeln!(out, "<li><a href=\"#s{}\">{}</a></li>", n + 1, escaped(&section.heading));
            }
            out.push_str("</ol></nav>\n");
        }
        out.push_str("<main>\n");
        for (n, section) in self.sections.iter().enumerate() {
            section.write_html(&mut out, n + 1);
        }
        let _ = write!(out, "</main>\n<footer>{NOT_FOR_CLINICAL_USE}</footer>\n</body>\n</html>\n");
        out
    }
}

impl Section {
    /// A section without content.
    pub fn new(heading: impl Into<String>) -> Self {
        Self { heading: heading.into(), blocks: Vec::new() }
    }

    /// With a paragraph more.
    pub fn paragraph(self, text: impl Into<String>) -> Self {
        self.with(Block::Paragraph(text.into()))
    }

    /// With a bulleted list more.
    pub fn list(self, items: Vec<String>) -> Self {
        self.with(Block::List(items))
    }

    /// With names and their values.
    pub fn facts(self, facts: Vec<(String, String)>) -> Self {
        self.with(Block::Facts(facts))
    }

    /// With a table more.
    pub fn table(self, table: Table) -> Self {
        self.with(Block::Table(table))
    }

    /// With a panel of pictures more.
    pub fn panel(self, panel: Panel) -> Self {
        self.with(Block::Panel(panel))
    }

    /// With a chart more.
    pub fn chart(self, chart: LineChart) -> Self {
        self.with(Block::Chart(chart))
    }

    fn with(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }

    fn write_html(&self, out: &mut String, n: usize) {
        let _ = writeln!(out, "<section id=\"s{n}\">\n<h2>{}</h2>", escaped(&self.heading));
        for (block_n, block) in self.blocks.iter().enumerate() {
            match block {
                Block::Paragraph(text) => {
                    let _ = writeln!(out, "<p>{}</p>", escaped(text));
                }
                Block::List(items) => {
                    out.push_str("<ul>\n");
                    for item in items {
                        let _ = writeln!(out, "<li>{}</li>", escaped(item));
                    }
                    out.push_str("</ul>\n");
                }
                Block::Facts(facts) => write_facts(out, facts),
                Block::Table(table) => table.write_html(out),
                Block::Panel(panel) => panel.write_html(out, &format!("s{n}b{block_n}")),
                Block::Chart(chart) => chart.write_html(out),
            }
        }
        out.push_str("</section>\n");
    }
}

fn write_facts(out: &mut String, facts: &[(String, String)]) {
    if facts.is_empty() {
        return;
    }
    out.push_str("<dl>\n");
    for (name, value) in facts {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value));
    }
    out.push_str("</dl>\n");
}

const STYLE: &str = include_str!("page.css");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cell, Column, Series};

    fn page() -> String {
        let hostile = "<script>alert('x')</script> & \"more\"";
        let section = Section::new(hostile)
            .paragraph(hostile)
            .list(vec![hostile.to_owned()])
            .facts(vec![(hostile.to_owned(), hostile.to_owned())])
            .table(
                Table::new(hostile, vec![Column::new(hostile).unit(hostile, 1)])
                    .row(vec![Cell::Text(hostile.to_owned())]),
            )
            .panel(Panel::new(hostile, vec![hostile.to_owned()]))
            .chart(
                LineChart::new(hostile, hostile, hostile)
                    .series(Series::new(hostile, vec![(0.0, 1.0), (1.0, 2.0)]))
                    .x_mark(0.5, hostile),
            );
        Report::new(hostile).intro(hostile).fact(hostile, hostile).section(section).to_html()
    }

    #[test]
    fn nothing_given_becomes_markup() {
        let html = page();
        assert!(!html.contains("<script") && !html.contains("alert('x')"));
        assert_eq!(html.matches("&lt;script&gt;").count(), html.matches("alert(&#39;x&#39;)").count());
        assert!(html.matches("&lt;script&gt;").count() >= 14);
    }

    #[test]
    fn the_page_loads_nothing_and_says_what_it_is() {
        let html = page();
        assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("src=\""));
        assert!(html.contains(NOT_FOR_CLINICAL_USE) && html.contains("default-src 'none'"));
        assert!(html.starts_with("<!DOCTYPE html>"));
    }

    #[test]
    fn every_element_is_closed_in_order() {
        let html = page();
        let body = html.split_once("</style>").map_or("", |parts| parts.1);
        let mut open = Vec::new();
        for part in body.split('<').skip(1) {
            let tag = part.split('>').next().unwrap_or("");
            let name: String =
                tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
            if tag.starts_with('/') {
                let last = open.pop();
                // The head was cut away with the style.
                assert!(
                    last.as_ref() == Some(&name)
                        || (open.is_empty() && ["head", "html"].contains(&name.as_str())),
                    "</{name}> closes {last:?}"
                );
            } else if !tag.ends_with('/') && !["br", "meta"].contains(&name.as_str()) {
                open.push(name);
            }
        }
        assert_eq!(open, [""; 0]);
    }
}
