//! A dump of MySQL or MariaDB (`mysqldump`), read as it comes: the rows of the tables that are asked for, by column.
//!
//! Total: whatever stands in the file gives rows or complaints with their line. It holds one value at a time and one row,
//! so the size of the file does not matter. It knows nothing of what the tables mean.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead};

mod bytes;
mod lexer;
#[cfg(test)]
mod tests;

use lexer::{Lexer, Token};

/// Most complaints that are kept; a file that is no dump has one a line.
const COMPLAINTS: usize = 50;
/// Most tables whose names are kept.
const TABLES: usize = 2_000;
/// Most columns of a table.
const COLUMNS: usize = 512;

/// A row: the line on which it begins, and its values by column. NULL is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub line: usize,
    pub values: HashMap<String, String>,
}

impl Row {
    /// A value that says something.
    pub fn get(&self, column: &str) -> Option<&str> {
        self.values.get(column).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}

/// Something that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    pub line: usize,
    pub what: String,
}

/// What is found beside the rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Tables that the file names, asked for or not.
    pub tables: HashSet<String>,
    /// The first complaints.
    pub complaints: Vec<Complaint>,
}

/// Reads a dump; `row` takes each row of a table for which `wanted` says so, and says whether to go on.
pub(super) fn read(
    input: impl BufRead,
    wanted: &dyn Fn(&str) -> bool,
    row: &mut dyn FnMut(&str, Row) -> bool,
) -> io::Result<Found> {
    let mut reader = Reader { lexer: Lexer::new(input), columns: HashMap::new(), found: Found::default() };
    reader.statements(wanted, row)?;
    Ok(reader.found)
}

struct Reader<R> {
    lexer: Lexer<R>,
    /// As CREATE TABLE has them, in order.
    columns: HashMap<String, Vec<String>>,
    found: Found,
}

impl<R: BufRead> Reader<R> {
    fn statements(&mut self, wanted: &dyn Fn(&str) -> bool, row: &mut dyn FnMut(&str, Row) -> bool) -> io::Result<()> {
        loop {
            match self.lexer.next()? {
                Token::End => return Ok(()),
                Token::Semicolon => {}
                token if token.is("create") => self.create(wanted)?,
                token if token.is("insert") || token.is("replace") => {
                    if !self.insert(wanted, row)? {
                        return Ok(());
                    }
                }
                // SET, LOCK TABLES, USE, …: nothing that is looked for
                token => self.rest_of(token)?,
            }
        }
    }

    fn complain(&mut self, line: usize, what: impl Into<String>) {
        if self.found.complaints.len() < COMPLAINTS {
            self.found.complaints.push(Complaint { line, what: what.into() });
        }
    }

    fn seen(&mut self, table: &str) {
        if self.found.tables.len() < TABLES && !self.found.tables.contains(table) {
            self.found.tables.insert(table.to_owned());
        }
    }

    /// Passes over what is left of a statement, of which `token` was read last.
    fn rest_of(&mut self, token: Token) -> io::Result<()> {
        let mut token = token;
        while !matches!(token, Token::Semicolon | Token::End) {
            token = self.lexer.skip()?;
        }
        Ok(())
    }

    /// A table's name, the schema before it left out.
    fn name(&mut self, first: Token) -> io::Result<(Option<String>, Token)> {
        let mut name = first.name();
        loop {
            let next = self.lexer.next()?;
            if next != Token::Mark(b'.') {
                return Ok((name.map(|name| name.to_ascii_lowercase()), next));
            }
            name = self.lexer.next()?.name();
        }
    }

    /// `CREATE TABLE [IF NOT EXISTS] name (column …, …)`
    fn create(&mut self, wanted: &dyn Fn(&str) -> bool) -> io::Result<()> {
        let line = self.lexer.line();
        let mut token = self.lexer.next()?;
        if !token.is("table") {
            return self.rest_of(token);
        }
        token = self.lexer.next()?;
        for word in ["if", "not", "exists"] {
            if token.is(word) {
                token = self.lexer.next()?;
            }
        }
        let (name, token) = self.name(token)?;
        let (Some(table), Token::Open) = (name, &token) else {
            self.complain(line, "a CREATE TABLE that cannot be read");
            return self.rest_of(token);
        };
        self.seen(&table);
        if !wanted(&table) {
            return self.rest_of(token);
        }
        let columns = self.columns_of(line)?;
        self.columns.insert(table, columns);
        let token = self.lexer.next()?;
        self.rest_of(token)
    }

    /// The first name of each part between the parentheses; keys and indices begin with a word that is no quoted name.
    fn columns_of(&mut self, line: usize) -> io::Result<Vec<String>> {
        const KEYS: [&str; 10] =
            ["primary", "unique", "key", "index", "constraint", "foreign", "fulltext", "spatial", "check", "period"];
        let (mut columns, mut depth, mut first) = (Vec::new(), 0_usize, true);
        loop {
            let token = self.lexer.next()?;
            match token {
                Token::End => {
                    self.complain(line, "the file ends in the middle of a CREATE TABLE");
                    return Ok(columns);
                }
                Token::Open => depth += 1,
                Token::Close if depth == 0 => return Ok(columns),
                Token::Close => depth -= 1,
                Token::Comma if depth == 0 => {
                    first = true;
                    continue;
                }
                token if first && depth == 0 => {
                    let key = KEYS.iter().any(|word| token.is(word));
                    if let Some(name) = token.name().filter(|_| !key && columns.len() < COLUMNS) {
                        columns.push(name.to_ascii_lowercase());
                    }
                }
                _ => {}
            }
            first = false;
        }
    }

    /// `INSERT [IGNORE] [INTO] name [(columns)] VALUES (…), (…)`. False: nobody wants more.
    fn insert(&mut self, wanted: &dyn Fn(&str) -> bool, row: &mut dyn FnMut(&str, Row) -> bool) -> io::Result<bool> {
        let line = self.lexer.line();
        let mut token = self.lexer.next()?;
        while ["low_priority", "delayed", "high_priority", "ignore", "into"].iter().any(|word| token.is(word)) {
            token = self.lexer.next()?;
        }
        let (name, mut token) = self.name(token)?;
        let Some(table) = name else {
            self.complain(line, "an INSERT that cannot be read");
            return self.rest_of(token).map(|()| true);
        };
        self.seen(&table);
        if !wanted(&table) {
            return self.rest_of(token).map(|()| true);
        }
        let mut columns = self.columns.get(&table).cloned();
        if token == Token::Open {
            columns = Some(self.columns_of(line)?);
            token = self.lexer.next()?;
        }
        if !token.is("values") && !token.is("value") {
            self.complain(line, format!("an INSERT into {table} without VALUES"));
            return self.rest_of(token).map(|()| true);
        }
        let Some(columns) = columns else {
            self.complain(line, format!("an INSERT into {table}, whose columns no CREATE TABLE and no list names"));
            return self.rest_of(token).map(|()| true);
        };
        loop {
            token = self.lexer.next()?;
            match token {
                Token::Comma => {}
                Token::Open => match self.row(&table, &columns)? {
                    Some(found) => {
                        if !row(&table, found) {
                            return Ok(false);
                        }
                    }
                    None => return Ok(true),
                },
                // also ON DUPLICATE KEY UPDATE …
                token => return self.rest_of(token).map(|()| true),
            }
        }
    }

    /// One row, its opening parenthesis read. None: it has no end, and the statement's was read.
    fn row(&mut self, table: &str, columns: &[String]) -> io::Result<Option<Row>> {
        let line = self.lexer.line();
        let (mut values, mut at, mut filled) = (HashMap::new(), 0, false);
        loop {
            let token = self.lexer.next()?;
            match token {
                Token::Comma => (at, filled) = (at + 1, false),
                Token::Close => {
                    let count = if at == 0 && !filled { 0 } else { at + 1 };
                    if count != columns.len() {
                        let (has, wants) = (count, columns.len());
                        self.complain(line, format!("a row of {table} has {has} values for {wants} columns"));
                    }
                    return Ok(Some(Row { line, values }));
                }
                Token::End | Token::Semicolon => {
                    self.complain(line, format!("a row of {table} has no end"));
                    return Ok(None);
                }
                // a function, such as NOW(): its value is not known here
                Token::Open => self.call()?,
                token => {
                    filled = true;
                    let Some(column) = columns.get(at) else { continue };
                    // of several tokens (`_binary 'x'`, `'a' 'b'`, `- 1`) the value is the last text
                    if let Some(value) = token.value() {
                        values.insert(column.clone(), value);
                    }
                }
            }
        }
    }

    /// Up to the end of a call's parentheses.
    fn call(&mut self) -> io::Result<()> {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.lexer.next()? {
                Token::Open => depth += 1,
                Token::Close => depth -= 1,
                Token::End => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }
}
