//! Which file of a package names what another file defines.
//!
//! Paths are resolved through re-exports to the file that defines the item. A re-export alone is no dependency of
//! the file that makes it, and neither is a `mod` declaration: a module's page may hand on what its files define.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Kind, Source, Token, item_end, sources};

/// The files of one package and what each takes from the others.
pub(crate) struct Graph {
    /// From a file to the files that it names, with the names.
    pub(crate) edges: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

type ModulePath = Vec<String>;

/// One module, with a file of its own or inside another's.
#[derive(Default)]
struct Module {
    file: String,
    defined: BTreeSet<String>,
    /// By the name that they have here.
    imports: BTreeMap<String, Import>,
    globs: Vec<ModulePath>,
    paths: BTreeSet<ModulePath>,
    /// Every word outside of `use`.
    words: BTreeSet<String>,
}

struct Import {
    path: ModulePath,
    /// Visible outside of the module.
    handed_on: bool,
}

/// What a path leads to.
enum Target {
    Module(ModulePath),
    /// The file that defines an item.
    File(String),
}

impl Graph {
    /// Of the package whose sources are below this folder.
    pub(crate) fn of(folder: &str) -> Self {
        Self::between(folder, sources(&[folder]))
    }

    /// Between these files, which are below this folder.
    pub(crate) fn between<'a>(folder: &str, sources: impl IntoIterator<Item = &'a Source>) -> Self {
        let mut modules = BTreeMap::new();
        for source in sources {
            let inside = source.path[folder.len()..].trim_start_matches('/').trim_end_matches(".rs");
            let mut path: ModulePath = inside.split('/').map(str::to_owned).collect();
            if matches!(path.last().map(String::as_str), Some("mod" | "lib")) {
                path.pop();
            }
            read(&source.path, &source.shipped, &path, &mut modules);
        }
        let mut edges: BTreeMap<_, BTreeMap<_, BTreeSet<_>>> = BTreeMap::new();
        let resolver = Resolver { modules: &modules };
        for (path, module) in &modules {
            let from = edges.entry(module.file.clone()).or_default();
            for (file, name) in resolver.uses(path, module) {
                if file != module.file {
                    from.entry(file).or_default().insert(name);
                }
            }
        }
        Self { edges }
    }

    /// The graph with a node for each group of files instead of each file.
    pub(crate) fn grouped(&self, group: impl Fn(&str) -> String) -> Self {
        let mut edges: BTreeMap<_, BTreeMap<_, BTreeSet<_>>> = BTreeMap::new();
        for (from, to) in &self.edges {
            let node = edges.entry(group(from)).or_default();
            for (file, names) in to {
                if group(file) != group(from) {
                    node.entry(group(file))
                        .or_default()
                        .extend(names.iter().map(|name| format!("{from}: {name}")));
                }
            }
        }
        Self { edges }
    }

    /// Sets of nodes that reach each other.
    pub(crate) fn circles(&self) -> Vec<Vec<String>> {
        let reach: BTreeMap<_, _> = self.edges.keys().map(|node| (node, self.reachable(node))).collect();
        let mut seen = BTreeSet::new();
        let mut circles = Vec::new();
        for node in self.edges.keys() {
            let mutual = |other: &&String| reach[node].contains(*other) && reach[other].contains(node);
            let circle: Vec<String> = self.edges.keys().filter(mutual).cloned().collect();
            if circle.len() > 1 && seen.insert(circle.clone()) {
                circles.push(circle);
            }
        }
        circles
    }

    fn reachable(&self, from: &str) -> BTreeSet<String> {
        let mut pending = vec![from.to_owned()];
        let mut found = BTreeSet::new();
        while let Some(node) = pending.pop() {
            for next in self.edges.get(&node).into_iter().flat_map(BTreeMap::keys) {
                if found.insert(next.clone()) {
                    pending.push(next.clone());
                }
            }
        }
        found
    }

    /// The edges inside a circle, a line each.
    pub(crate) fn describe(&self, circle: &[String]) -> String {
        let mut text = String::new();
        for from in circle {
            for (to, names) in self.edges[from].iter().filter(|(to, _)| circle.contains(to)) {
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                text.push_str(&format!("  {from} -> {to}: {}\n", names.join(", ")));
            }
        }
        text
    }
}

/// Reads one module's tokens, and those of the modules inside it.
fn read(file: &str, tokens: &[Token], path: &[String], modules: &mut BTreeMap<ModulePath, Module>) {
    let mut module = Module { file: file.to_owned(), ..Module::default() };
    let mut at = 0;
    let mut depth = 0_usize;
    while at < tokens.len() {
        let next_word = tokens.get(at + 1).and_then(Token::word);
        match (&tokens[at].kind, next_word) {
            (Kind::Word(word), _) if word == "use" && is_import(tokens, at) => {
                let end = item_end_of_use(tokens, at);
                let handed_on = is_public(&tokens[..at]);
                read_use(&tokens[at + 1..end], &mut Vec::new(), handed_on, &mut module);
                at = end;
                continue;
            }
            (Kind::Word(word), Some(name)) if word == "mod" && depth == 0 => {
                module.defined.insert(name.to_owned());
                let end = item_end(tokens, at);
                if end - at > 3 {
                    let inner: ModulePath = path.iter().cloned().chain([name.to_owned()]).collect();
                    read(file, &tokens[at + 3..end - 1], &inner, modules);
                }
                at = end;
                continue;
            }
            (Kind::Word(word), Some(name)) if depth == 0 && defines(word) => {
                module.defined.insert(name.to_owned());
            }
            (Kind::Open(_), _) => depth += 1,
            (Kind::Close, _) => depth = depth.saturating_sub(1),
            _ => {}
        }
        at = read_path(tokens, at, &mut module);
    }
    modules.insert(path.to_vec(), module);
}

/// Records the path or the word at `at`; returns where to go on.
fn read_path(tokens: &[Token], at: usize, module: &mut Module) -> usize {
    let Some(first) = tokens[at].word() else { return at + 1 };
    let mut path = vec![first.to_owned()];
    let mut end = at + 1;
    while let [separator, word, ..] = &tokens[end.min(tokens.len())..] {
        let (Kind::PathSeparator, Some(word)) = (&separator.kind, word.word()) else { break };
        path.push(word.to_owned());
        end += 2;
    }
    module.words.insert(first.to_owned());
    if path.len() > 1 {
        module.paths.insert(path);
    }
    end
}

fn defines(word: &str) -> bool {
    ["struct", "enum", "union", "fn", "trait", "type", "const", "static"].contains(&word)
}

/// `use` also captures lifetimes, as `use<'a>`.
fn is_import(tokens: &[Token], at: usize) -> bool {
    tokens.get(at + 1).is_some_and(|next| next.kind != Kind::Punct('<'))
}

fn item_end_of_use(tokens: &[Token], at: usize) -> usize {
    let end = tokens[at..].iter().position(|token| token.kind == Kind::Punct(';'));
    end.map_or(tokens.len(), |offset| at + offset)
}

/// Whether the item after these tokens is `pub`, in whatever measure.
fn is_public(before: &[Token]) -> bool {
    match before {
        [.., last] if last.is("pub") => true,
        [.., last] if last.kind == Kind::Close => {
            let open = before.iter().rposition(|token| token.kind == Kind::Open('('));
            open.is_some_and(|open| open > 0 && before[open - 1].is("pub") && before.len() - open <= 5)
        }
        _ => false,
    }
}

/// Reads a tree of imports, such as `a::{b, c::d as e, f::*}`.
fn read_use(tokens: &[Token], prefix: &mut ModulePath, handed_on: bool, module: &mut Module) {
    let depth = prefix.len();
    let mut at = 0;
    let mut alias = None;
    while at < tokens.len() {
        match &tokens[at].kind {
            Kind::Word(word) if word == "as" => {
                alias = tokens.get(at + 1).and_then(Token::word).map(str::to_owned);
                at += 1;
            }
            Kind::Word(word) => prefix.push(word.clone()),
            Kind::Punct('*') => module.globs.push(prefix.clone()),
            Kind::Open(_) => {
                let end = at + item_end(&tokens[at..], 0);
                for branch in branches(&tokens[at + 1..end - 1]) {
                    read_use(branch, prefix, handed_on, module);
                }
                prefix.truncate(depth);
                return;
            }
            _ => {}
        }
        at += 1;
    }
    let glob = tokens.last().is_some_and(|last| last.kind == Kind::Punct('*'));
    if prefix.last().is_some_and(|last| last == "self") && prefix.len() > 1 {
        prefix.pop();
    }
    if let (false, Some(last)) = (glob, prefix.last()) {
        let name = alias.unwrap_or_else(|| last.clone());
        module.imports.insert(name, Import { path: prefix.clone(), handed_on });
    }
    prefix.truncate(depth);
}

/// The parts between the commas of a group.
fn branches(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0_usize;
    let outer_comma = |token: &Token| {
        match token.kind {
            Kind::Open(_) => depth += 1,
            Kind::Close => depth -= 1,
            _ => {}
        }
        depth == 0 && token.kind == Kind::Punct(',')
    };
    tokens.split(outer_comma).filter(|branch| !branch.is_empty()).collect()
}

struct Resolver<'a> {
    modules: &'a BTreeMap<ModulePath, Module>,
}

/// How many re-exports lead to an item at most.
const STEPS: usize = 16;

impl Resolver<'_> {
    /// The files whose items a module names, and the names.
    fn uses(&self, path: &ModulePath, module: &Module) -> Vec<(String, String)> {
        let imported = module.imports.iter().filter(|(name, import)| {
            // Handing on is no use; naming it too is.
            !import.handed_on || module.words.contains(*name)
        });
        let paths = imported.map(|(_, import)| &import.path).chain(&module.paths);
        let mut found = Vec::new();
        for named in paths {
            if let Some(Target::File(file)) = self.resolve(path, named, STEPS) {
                found.push((file, named.last().cloned().unwrap_or_default()));
            }
        }
        for glob in &module.globs {
            let Some(Target::Module(target)) = self.resolve(path, glob, STEPS) else { continue };
            for word in module.words.iter().filter(|word| !module.defined.contains(*word)) {
                if let Some(Target::File(file)) = self.member(&target, word, STEPS) {
                    found.push((file, word.clone()));
                }
            }
        }
        found
    }

    /// Where a path leads that stands in `module`; nothing for another package's.
    fn resolve(&self, module: &[String], path: &[String], steps: usize) -> Option<Target> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Target::Module(Vec::new()),
            "self" => Target::Module(module.to_vec()),
            "super" => Target::Module(module[..module.len().checked_sub(1)?].to_vec()),
            _ => self.member(module, first, steps.checked_sub(1)?)?,
        };
        while let (Target::Module(here), Some((next, after))) = (&at, rest.split_first()) {
            at = match next.as_str() {
                "super" => Target::Module(here[..here.len().checked_sub(1)?].to_vec()),
                _ => self.member(here, next, steps.checked_sub(1)?)?,
            };
            rest = after;
        }
        Some(at)
    }

    /// What a name is inside a module.
    fn member(&self, module: &[String], name: &str, steps: usize) -> Option<Target> {
        let child: ModulePath = module.iter().cloned().chain([name.to_owned()]).collect();
        if self.modules.contains_key(&child) {
            return Some(Target::Module(child));
        }
        let here = self.modules.get(module)?;
        if here.defined.contains(name) {
            return Some(Target::File(here.file.clone()));
        }
        if let Some(import) = here.imports.get(name) {
            return self.resolve(module, &import.path, steps.checked_sub(1)?);
        }
        here.globs.iter().find_map(|glob| match self.resolve(module, glob, steps.checked_sub(1)?)? {
            Target::Module(target) => self.member(&target, name, steps.checked_sub(1)?),
            Target::File(_) => None,
        })
    }
}
