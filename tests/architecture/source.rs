//! Source files as tokens: comments are gone, each token knows its lines.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// One Rust file.
pub(crate) struct Source {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    /// How many lines the file has, with comments and tests.
    pub(crate) lines: usize,
    tokens: Vec<Token>,
    /// The same without what `#[cfg(test)]` adds.
    pub(crate) shipped: Vec<Token>,
}

/// A token of a file: a delimiter is a token of its own, and `::` is one token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// The first and the last line.
    pub(crate) lines: (usize, usize),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Word(String),
    PathSeparator,
    Punct(char),
    Open(char),
    Close,
    Literal,
}

impl Token {
    pub(crate) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(crate) fn is(&self, word: &str) -> bool {
        self.word() == Some(word)
    }
}

/// A function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// Lines of code between the braces of the body.
    pub(crate) length: usize,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below these paths with one of these extensions, sorted. Build results and fuzzing inputs are left out.
pub(crate) fn files(below: &[&str], extensions: &[&str]) -> Vec<PathBuf> {
    const OTHERS: &[&str] = &["target", ".git", "corpus", "artifacts", "node_modules"];
    let mut pending: Vec<_> =
        below.iter().map(|path| root().join(path)).filter(|path| path.exists()).collect();
    let mut found = BTreeSet::new();
    while let Some(path) = pending.pop() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !OTHERS.contains(&name.as_str()) {
                pending.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        } else if extensions.iter().any(|extension| name.ends_with(extension)) {
            found.insert(path);
        }
    }
    assert!(!found.is_empty(), "{below:?}");
    found.into_iter().collect()
}

/// A path relative to the repository.
pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

/// Everything that is compiled.
pub(crate) const ALL: &[&str] =
    &["src", "flowspec", "shaper", "winsock", "tests", "benches", "examples", "fuzz"];

/// Every Rust file below these paths.
pub(crate) fn sources(below: &[&str]) -> Vec<&'static Source> {
    static READ: LazyLock<Vec<Source>> =
        LazyLock::new(|| files(ALL, &[".rs"]).iter().map(|path| Source::read(path)).collect());
    let is_below = |path: &str| below.iter().any(|place| Path::new(path).starts_with(place));
    READ.iter().filter(|source| is_below(&source.path)).collect()
}

impl Source {
    fn read(path: &Path) -> Self {
        Self::parse(relative(path), &std::fs::read_to_string(path).unwrap())
    }

    pub(crate) fn parse(path: String, text: &str) -> Self {
        let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        let shipped = without_tests(&tokens);
        Self { path, lines: text.lines().count(), tokens, shipped }
    }

    /// The public enums that a `match` of another package may list whole.
    pub(crate) fn exhaustive_enums(&self) -> Vec<String> {
        let tokens = &self.shipped;
        let named = (0..tokens.len().saturating_sub(2))
            .filter(|&at| tokens[at].is("pub") && tokens[at + 1].is("enum"));
        let exhaustive =
            named.filter(|&at| !attributes(&tokens[..at]).any(|token| token.is("non_exhaustive")));
        exhaustive.filter_map(|at| Some(tokens[at + 2].word()?.to_owned())).collect()
    }

    pub(crate) fn functions(&self) -> Vec<Function> {
        let tokens = &self.tokens;
        let named = (0..tokens.len().saturating_sub(1)).filter(|&at| tokens[at].is("fn"));
        let with_body = named.filter_map(|at| {
            let name = tokens[at + 1].word()?;
            let end = item_end(tokens, at);
            let open = body(&tokens[at..end])? + at;
            let (line, length) = (tokens[at].lines.0, code_lines_between(&tokens[open..end]));
            Some(Function { name: name.to_owned(), line, length })
        });
        with_body.collect()
    }

    /// Every function of the Rust ABI that is public without restriction, with the primitive types among its arguments:
    /// behind references, in slices, tuples and options, which are types of their own; a string is a `str`, and so is
    /// what converts into one: `impl Into<String>`, or `S` where `S: AsRef<str>`.
    pub(crate) fn public_signatures(&self) -> Vec<(Function, Vec<String>)> {
        let tokens = &self.shipped;
        let named = (0..tokens.len().saturating_sub(1)).filter(|&at| tokens[at].is("fn"));
        let public = named.filter(|&at| {
            let qualifies = |token: &&Token| token.is("const") || token.is("async") || token.is("unsafe");
            let mut before = tokens[..at].iter().rev().skip_while(qualifies);
            before.next().is_some_and(|token| token.is("pub"))
        });
        let signature = public.filter_map(|at| {
            let (name, line) = (tokens[at + 1].word()?.to_owned(), tokens[at].lines.0);
            Some((Function { name, line, length: 0 }, primitive_arguments(&tokens[at + 2..])))
        });
        signature.collect()
    }

    /// The lines of the shipped code with a `Result` whose error is a text: a `String` or a `&'static str`.
    pub(crate) fn textual_results(&self) -> Vec<usize> {
        let tokens = &self.shipped;
        let results = (0..tokens.len().saturating_sub(1))
            .filter(|&at| tokens[at].is("Result") && tokens[at + 1].kind == Kind::Punct('<'));
        results.filter(|&at| has_textual_error(&tokens[at + 1..])).map(|at| tokens[at].lines.0).collect()
    }

    /// Whether the shipped code calls a method of this name.
    pub(crate) fn calls(&self, method: &str) -> bool {
        self.shipped.windows(3).any(|tokens| {
            tokens[0].kind == Kind::Punct('.') && tokens[1].is(method) && tokens[2].kind == Kind::Open('(')
        })
    }

    /// Whether the shipped code names a path of these words, `a::b::c`, or one longer.
    pub(crate) fn names(&self, path: &str) -> bool {
        let wanted: Vec<_> = path.split("::").collect();
        let length = 2 * wanted.len() - 1;
        let tokens = &self.shipped;
        (0..(tokens.len() + 1).saturating_sub(length)).any(|at| {
            let after_separator = at > 0 && tokens[at - 1].kind == Kind::PathSeparator;
            let here = &tokens[at..at + length];
            !after_separator
                && here.iter().step_by(2).zip(&wanted).all(|(token, word)| token.is(word))
                && here.iter().skip(1).step_by(2).all(|token| token.kind == Kind::PathSeparator)
        })
    }
}

/// Whether the last of the types in these angle brackets is a text.
fn has_textual_error(tokens: &[Token]) -> bool {
    let (mut angles, mut open, mut last) = (0_usize, 0_usize, None);
    for (at, token) in tokens.iter().enumerate() {
        let arrow = at > 0 && tokens[at - 1].kind == Kind::Punct('-');
        match token.kind {
            Kind::Punct('<') => angles += 1,
            Kind::Punct('>') if !arrow => angles -= 1,
            Kind::Open(_) => open += 1,
            Kind::Close => open = open.saturating_sub(1),
            Kind::Punct(',') if angles == 1 && open == 0 => last = Some(at),
            _ => {}
        }
        if angles == 0 {
            let error: Vec<_> = last.map_or(&[][..], |last| &tokens[last + 1..at]).iter().collect();
            return matches!(error[..], [text] if text.is("String"))
                || matches!(error[..], [.., text] if text.is("str"));
        }
    }
    false
}

/// The tokens without those of items under `#[cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at..] {
            [hash, open, cfg, inner, test, close, end, ..]
                if hash.kind == Kind::Punct('#')
                    && open.kind == Kind::Open('[')
                    && cfg.is("cfg")
                    && inner.kind == Kind::Open('(')
                    && test.is("test")
                    && [close, end].iter().all(|token| token.kind == Kind::Close) =>
            {
                at = item_end(tokens, at + 7);
            }
            [token, ..] => {
                kept.push(token.clone());
                at += 1;
            }
            [] => break,
        }
    }
    kept
}

/// One past the last token of the item that begins at `start`: its `;`, or the end of its first braces.
pub(crate) fn item_end(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut braces = Vec::new();
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.kind {
            Kind::Open(delimiter) => {
                braces.push(delimiter == '{' && depth == 0);
                depth += 1;
            }
            Kind::Close => {
                let Some(outer_brace) = braces.pop() else { return at };
                depth -= 1;
                if outer_brace {
                    return at + 1;
                }
            }
            Kind::Punct(';') if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

const PRIMITIVES: &[&str] = &[
    "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "bool", "char",
    "str",
];

/// Traits of what stands for a value of the type in their angle brackets.
const CONVERSIONS: &[&str] = &["Into", "TryInto", "AsRef", "Borrow"];

/// The primitive types among a function's arguments, from what follows its name.
fn primitive_arguments(tokens: &[Token]) -> Vec<String> {
    let (arguments, bounds) = signature(tokens);
    let stands_for = converting_parameters(&bounds);
    let mut found = Vec::new();
    // Whether a type has begun, and of each angle bracket that is open whether an option's, a conversion's or
    // another type's.
    let (mut open, mut in_type, mut called) = (0_usize, false, false);
    let mut angles: Vec<Angle> = Vec::new();
    for (at, token) in arguments.iter().enumerate() {
        let arrow = at > 0 && arguments[at - 1].kind == Kind::Punct('-');
        match &token.kind {
            Kind::Punct('<') => angles.push(Angle::after(arguments[..at].last())),
            Kind::Punct('>') if !arrow => drop(angles.pop()),
            Kind::Open(_) => open += 1,
            Kind::Close => open = open.saturating_sub(1),
            Kind::Punct(':') if open == 0 && angles.is_empty() => in_type = true,
            Kind::Punct(',') if open == 0 && angles.is_empty() => (in_type, called) = (false, false),
            // What a function takes that is an argument itself.
            Kind::Word(word) if ["Fn", "FnMut", "FnOnce", "fn"].contains(&word.as_str()) => called = true,
            Kind::Word(word) if in_type && !called && !angles.contains(&Angle::Other) => {
                let word = stands_for.get(word.as_str()).copied().or_else(|| primitive(word));
                let optional = angles.contains(&Angle::Option);
                found.extend(
                    word.map(|word| if optional { format!("Option<{word}>") } else { word.to_owned() }),
                );
            }
            _ => {}
        }
    }
    found
}

fn primitive(word: &str) -> Option<&'static str> {
    let word = if word == "String" { "str" } else { word };
    PRIMITIVES.iter().copied().find(|primitive| *primitive == word)
}

/// What the type in angle brackets is to the one before them.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Angle {
    Option,
    Conversion,
    Other,
}

impl Angle {
    fn after(before: Option<&Token>) -> Self {
        match before.and_then(Token::word) {
            Some("Option") => Self::Option,
            Some(word) if CONVERSIONS.contains(&word) => Self::Conversion,
            _ => Self::Other,
        }
    }
}

/// The tokens between the parentheses of a function's arguments, and the two places of bounds: its generic parameters
/// and its `where`.
fn signature(tokens: &[Token]) -> (&[Token], [&[Token]; 2]) {
    let mut angles = 0_usize;
    let mut begin = 0;
    for (at, token) in tokens.iter().enumerate() {
        let arrow = at > 0 && tokens[at - 1].kind == Kind::Punct('-');
        match token.kind {
            Kind::Punct('<') => angles += 1,
            Kind::Punct('>') if !arrow => angles = angles.saturating_sub(1),
            Kind::Open('(') if angles == 0 => {
                begin = at;
                break;
            }
            _ => {}
        }
    }
    let end = begin + group_length(&tokens[begin..]);
    let rest = &tokens[end.min(tokens.len())..];
    let body = rest.iter().position(|token| matches!(token.kind, Kind::Open('{') | Kind::Punct(';')));
    let rest = &rest[..body.unwrap_or(rest.len())];
    let bounds = rest.iter().position(|token| token.is("where")).map_or(&[][..], |at| &rest[at + 1..]);
    (&tokens[begin + 1..end - 1], [&tokens[..begin], bounds])
}

/// How many tokens the group has that begins here, with its delimiters.
fn group_length(tokens: &[Token]) -> usize {
    let mut open = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Open(_) => open += 1,
            Kind::Close if open == 1 => return at + 1,
            Kind::Close => open -= 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The generic parameters that stand for a primitive type, by their bounds: `S: Into<String>`.
fn converting_parameters<'a>(bounds: &[&'a [Token]]) -> BTreeMap<&'a str, &'static str> {
    let mut found = BTreeMap::new();
    for tokens in bounds {
        let mut parameter = None;
        for (at, token) in tokens.iter().enumerate() {
            match (token.word(), &tokens[at + 1..]) {
                (Some(name), [colon, ..]) if colon.kind == Kind::Punct(':') => parameter = Some(name),
                (Some(name), [angle, to, end, ..])
                    if CONVERSIONS.contains(&name)
                        && (&angle.kind, &end.kind) == (&Kind::Punct('<'), &Kind::Punct('>')) =>
                {
                    let to = to.word().and_then(primitive);
                    found.extend(parameter.zip(to));
                }
                _ => {}
            }
        }
    }
    found
}

/// Where a function's body begins; a function of a trait may have none.
fn body(item: &[Token]) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in item.iter().enumerate() {
        match token.kind {
            Kind::Open('{') if depth == 0 => return Some(at),
            Kind::Open(_) => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// The tokens of the attributes at the end of these.
fn attributes(tokens: &[Token]) -> impl Iterator<Item = &Token> {
    let mut start = tokens.len();
    while start > 0 && matches!(tokens[start - 1].kind, Kind::Close) {
        let (mut at, mut depth) = (start, 0);
        loop {
            at -= 1;
            match tokens[at].kind {
                Kind::Close => depth += 1,
                Kind::Open(_) => depth -= 1,
                _ => {}
            }
            if depth == 0 || at == 0 {
                break;
            }
        }
        if at == 0 || !matches!(tokens[at - 1].kind, Kind::Punct('#')) {
            break;
        }
        start = at - 1;
    }
    tokens[start..].iter()
}

fn code_lines(tokens: &[Token]) -> usize {
    tokens.iter().flat_map(|token| token.lines.0..=token.lines.1).collect::<BTreeSet<_>>().len()
}

/// Lines of code between a block's braces.
fn code_lines_between(block: &[Token]) -> usize {
    let inner = &block[1..block.len().saturating_sub(1).max(1)];
    code_lines(inner)
}

/// Groups become two delimiters and their content; doc comments are dropped.
fn flatten(stream: TokenStream, into: &mut Vec<Token>) {
    for tree in stream {
        let (start, end) = (tree.span().start().line, tree.span().end().line);
        let mut push = |kind, lines| into.push(Token { kind, lines });
        match tree {
            TokenTree::Ident(ident) => push(Kind::Word(ident.to_string()), (start, end)),
            TokenTree::Literal(_) => push(Kind::Literal, (start, end)),
            TokenTree::Punct(punct) => {
                let second = punct.as_char() == ':'
                    && into.last().is_some_and(|last| last.kind == Kind::Punct('\u{2237}'));
                if second {
                    into.pop();
                    into.push(Token { kind: Kind::PathSeparator, lines: (start, end) });
                } else {
                    // The first half of `::`, until its second half comes.
                    let first = punct.as_char() == ':' && punct.spacing() == Spacing::Joint;
                    let punct = if first { '\u{2237}' } else { punct.as_char() };
                    into.push(Token { kind: Kind::Punct(punct), lines: (start, end) });
                }
            }
            TokenTree::Group(group) => {
                if group.delimiter() == Delimiter::Bracket && is_doc(&group.stream()) {
                    drop_attribute_start(into);
                    continue;
                }
                let open = match group.delimiter() {
                    Delimiter::Parenthesis => '(',
                    Delimiter::Bracket => '[',
                    Delimiter::Brace | Delimiter::None => '{',
                };
                push(Kind::Open(open), (start, start));
                flatten(group.stream(), into);
                into.push(Token { kind: Kind::Close, lines: (end, end) });
            }
        }
    }
}

/// Whether an attribute's content is a doc comment.
fn is_doc(stream: &TokenStream) -> bool {
    let mut trees = stream.clone().into_iter();
    let first = matches!(trees.next(), Some(TokenTree::Ident(ident)) if ident == "doc");
    first && matches!(trees.next(), Some(TokenTree::Punct(punct)) if punct.as_char() == '=')
}

/// Drops the `#` or `#!` of an attribute.
fn drop_attribute_start(tokens: &mut Vec<Token>) {
    while tokens.last().is_some_and(|last| matches!(last.kind, Kind::Punct('#' | '!'))) {
        tokens.pop();
    }
}
