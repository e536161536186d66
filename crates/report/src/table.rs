//! Tables of numbers.

use std::fmt::Write as _;

use crate::text::{escaped, number};

/// Which values of a column are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Smaller ones, as of errors.
    Lower,
    /// Larger ones, as of overlaps.
    Higher,
    /// Those nearest to zero, as of signed errors.
    NearZero,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its heading.
    pub heading: String,
    /// The unit of its numbers, below the heading; may be empty.
    pub unit: String,
    /// The decimals its numbers are shown with.
    pub decimals: usize,
    /// If given, the best number of two or more is marked.
    pub better: Option<Better>,
}

impl Column {
    /// A column without unit whose best value is not marked.
    pub fn new(heading: impl Into<String>) -> Self {
        Self { heading: heading.into(), unit: String::new(), decimals: 1, better: None }
    }

    /// With this unit and number of decimals.
    pub fn unit(mut self, unit: impl Into<String>, decimals: usize) -> Self {
        self.unit = unit.into();
        self.decimals = decimals;
        self
    }

    /// With the best value marked.
    pub const fn better(mut self, better: Better) -> Self {
        self.better = Some(better);
        self
    }
}

/// What stands in a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// Words that lead to a file beside the page.
    Link {
        /// The words.
        text: String,
        /// The file's path relative to the page's folder, with `/` between its parts.
        path: String,
    },
    /// A count.
    Count(usize),
    /// A number, or a mean with its standard deviation.
    Value {
        /// The number or mean.
        mean: f64,
        /// The standard deviation, if there is one.
        sd: Option<f64>,
    },
    /// Nothing was computed.
    Absent,
}

/// A table with a caption.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    caption: String,
    note: String,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows; the first column names the rows.
    pub fn new(caption: impl Into<String>, columns: Vec<Column>) -> Self {
        Self { caption: caption.into(), note: String::new(), columns, rows: Vec::new() }
    }

    /// With a note below it: definitions, what is compared.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// With one row more: cells that are missing at its end are absent, surplus ones are not shown.
    pub fn row(mut self, mut cells: Vec<Cell>) -> Self {
        cells.resize(self.columns.len(), Cell::Absent);
        self.rows.push(cells);
        self
    }

    pub(crate) fn write_html(&self, out: &mut String) {
        let best: Vec<Option<String>> = (0..self.columns.len()).map(|n| self.best(n)).collect();
        out.push_str("<div class=\"wide\"><table>\n<caption>");
        out.push_str(&escaped(&self.caption));
        out.push_str("</caption>\n<thead><tr>");
        for (n, column) in self.columns.iter().enumerate() {
            let class = if n == 0 { "" } else { " class=\"num\"" };
            let _ = write!(out, "<th scope=\"col\"{class}>{}", escaped(&column.heading));
            if !column.unit.is_empty() {
                let _ = write!(out, "<br><span class=\"unit\">{}</span>", escaped(&column.unit));
            }
            out.push_str("</th>");
        }
        out.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            out.push_str("<tr>");
            for (n, cell) in row.iter().enumerate() {
                let tag = if n == 0 { "th scope=\"row\"" } else { "td" };
                let end = if n == 0 { "th" } else { "td" };
                let decimals = self.columns[n].decimals;
                match cell {
                    Cell::Text(text) => {
                        let _ = write!(out, "<{tag}>{}</{end}>", escaped(text));
                    }
                    Cell::Link { text, path } => {
                        let (text, path) = (escaped(text), relative_url(path));
                        let _ = write!(out, "<{tag}><a href=\"{path}\">{text}</a></{end}>");
                    }
                    Cell::Count(count) => {
                        let _ = write!(out, "<{tag} class=\"num\">{count}</{end}>");
                    }
                    Cell::Value { mean, sd } => {
                        let mean = number(*mean, decimals);
                        let is_best = best[n].as_ref() == Some(&mean);
                        let class = if is_best { "num best" } else { "num" };
                        let _ =
                            write!(out, "<{tag} class=\"{class}\">{}{mean}", if is_best { "▸ " } else { "" });
                        if let Some(sd) = sd {
                            let _ = write!(out, " <span class=\"sd\">± {}</span>", number(*sd, decimals));
                        }
                        let _ = write!(out, "</{end}>");
                    }
                    Cell::Absent => {
                        let _ = write!(out, "<{tag} class=\"num absent\" title=\"not computed\">n/a</{end}>");
                    }
                }
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody></table></div>\n");
        let legend = if best.iter().any(Option::is_some) { "▸ best mean of its column." } else { "" };
        if !legend.is_empty() || !self.note.is_empty() {
            let _ = writeln!(out, "<p class=\"note below\">{} {}</p>", legend, escaped(&self.note));
        }
    }

    /// The best mean of a column as it is shown, if two or more rows have one and they do not all show the same.
    fn best(&self, n: usize) -> Option<String> {
        let column = &self.columns[n];
        let better = column.better?;
        let means: Vec<f64> = (self.rows.iter())
            .filter_map(|row| match row[n] {
                Cell::Value { mean, .. } => Some(mean),
                _ => None,
            })
            .collect();
        let badness = |mean: &f64| match better {
            Better::Lower => *mean,
            Better::Higher => -mean,
            Better::NearZero => mean.abs(),
        };
        let best = means.iter().min_by(|a, b| badness(a).total_cmp(&badness(b)))?;
        let shown = number(*best, column.decimals);
        means.iter().any(|mean| number(*mean, column.decimals) != shown).then_some(shown)
    }
}

/// A path as a URL that stays within the page's folder: whatever could mean something in a URL is percent-encoded.
fn relative_url(path: &str) -> String {
    let mut url = String::from("./");
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => url.push(char::from(byte)),
            _ => {
                let _ = write!(url, "%{byte:02X}");
            }
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_marked_by_a_sign_and_absence_is_said() {
        let table = Table::new(
            "MAE <body>",
            vec![
                Column::new("arm"),
                Column::new("body").unit("HU", 1).better(Better::Lower),
                Column::new("bias").unit("HU", 1).better(Better::NearZero),
            ],
        )
        .row(vec![
            Cell::Text("a & b".to_owned()),
            Cell::Value { mean: 70.04, sd: Some(8.6) },
            Cell::Value { mean: -3.0, sd: None },
        ])
        .row(vec![Cell::Text("c".to_owned()), Cell::Value { mean: 84.4, sd: None }]);
        let mut html = String::new();
        table.write_html(&mut html);
        for expected in [
            "<th scope=\"row\">a &amp; b</th>",
            "<td class=\"num best\">▸ 70.0 <span class=\"sd\">± 8.6</span></td>",
            "<td class=\"num\">84.4</td>",
            "<td class=\"num\">−3.0</td>",
            "title=\"not computed\">n/a</td>",
            "MAE &lt;body&gt;",
        ] {
            assert!(html.contains(expected), "{expected} not in {html}");
        }
    }

    #[test]
    fn a_link_leads_to_a_file_beside_the_page_and_nowhere_else() {
        let link = |path: &str| {
            let cell = Cell::Link { text: "p <1>".to_owned(), path: path.to_owned() };
            let mut html = String::new();
            Table::new("t", vec![Column::new("case")]).row(vec![cell]).write_html(&mut html);
            html
        };
        assert!(link("p 1#/qc.html").contains("<a href=\"./p%201%23/qc.html\">p &lt;1&gt;</a>"));
        assert!(link("javascript:alert(1)").contains("href=\"./javascript%3Aalert%281%29\""));
    }
}
