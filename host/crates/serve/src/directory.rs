//! What exists, by name: an immutable snapshot that the host builds from its plan and replaces at each reload.
//!
//! References between names are resolved here, once, so that requests only look up. A name that a service uses and
//! that does not exist is kept as such: asking for that service says which part is missing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use model::codec::SourceColumn;
use model::schema::DataType;
use model::source::Push;
use model::view::{ViewRef, ViewShape};

use crate::share::SharedStream;

/// Features that are read together, as its file declares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The name.
    pub name: String,
    /// Views and features in declared order; without a feature, all of the view.
    pub features: Vec<(String, Option<String>)>,
}

/// A source, as far as the server is concerned: what may be pushed to it, and whether other hosts read it too.
#[derive(Clone)]
pub struct PushEntry {
    /// Takes events; `None` for sources that read elsewhere.
    pub push: Option<Arc<dyn Push>>,
    /// The columns of the schema; Feast data frames are cut down to these.
    pub columns: Vec<SourceColumn>,
    /// The key that selects the source in a view file, such as `push` or `file`.
    pub kind: &'static str,
    /// Whether payloads are taken as they are, rather than as JSON objects.
    pub raw: bool,
    /// Who shares its partitions, if they can be shared.
    pub shared: Option<SharedStream>,
}

impl fmt::Debug for PushEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushEntry")
            .field("push", &self.push.is_some())
            .field("columns", &self.columns)
            .field("kind", &self.kind)
            .field("raw", &self.raw)
            .field("shared", &self.shared)
            .finish()
    }
}

/// All views, services and sources of a host.
#[derive(Debug, Default)]
pub struct Directory {
    views: HashMap<String, ViewRef>,
    services: HashMap<String, Result<Arc<Selection>, Missing>>,
    sources: HashMap<String, Arc<PushEntry>>,
    /// Views whose rows are in a store that all hosts read: none of them has a part only.
    shared_rows: HashSet<String>,
    /// Every join key of every view.
    join_keys: HashMap<String, DataType>,
}

/// Features of several views, resolved.
#[derive(Debug, Default, Clone)]
pub(crate) struct Selection {
    /// What to read, each view once, in order of first mention.
    pub(crate) reads: Vec<ViewRead>,
    /// What to answer, in requested order.
    pub(crate) columns: Vec<SelectedColumn>,
}

/// The features of one view that are needed.
#[derive(Debug, Clone)]
pub(crate) struct ViewRead {
    pub(crate) view: ViewRef,
    /// Indexes into the view's features.
    pub(crate) features: Vec<usize>,
}

/// One requested feature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SelectedColumn {
    /// Index into [`Selection::reads`].
    pub(crate) read: usize,
    /// Index into [`ViewRead::features`].
    pub(crate) slot: usize,
}

/// A name that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    View { view: String },
    Feature { view: String, feature: String },
}

impl Selection {
    /// Adds a feature, or all of its view; `None` = all.
    fn add(&mut self, directory: &Directory, view: &str, feature: Option<&str>) -> Result<(), Missing> {
        let read = self.read_of(directory, view)?;
        let shape = Arc::clone(&self.reads[read].view);
        match feature {
            Some(feature) => {
                let index = shape
                    .feature_index(feature)
                    .ok_or_else(|| Missing::Feature { view: view.to_owned(), feature: feature.to_owned() })?;
                self.add_index(read, index);
            }
            None => (0..shape.features.len()).for_each(|index| self.add_index(read, index)),
        }
        Ok(())
    }

    fn read_of(&mut self, directory: &Directory, view: &str) -> Result<usize, Missing> {
        if let Some(read) = self.reads.iter().position(|read| read.view.name == view) {
            return Ok(read);
        }
        let shape = directory.view(view).ok_or_else(|| Missing::View { view: view.to_owned() })?;
        self.reads.push(ViewRead { view: Arc::clone(shape), features: Vec::new() });
        Ok(self.reads.len() - 1)
    }

    fn add_index(&mut self, read: usize, index: usize) {
        self.columns.push(SelectedColumn { read, slot: self.reads[read].features.len() });
        self.reads[read].features.push(index);
    }

    /// The name of a requested feature.
    pub(crate) fn name(&self, column: SelectedColumn) -> &str {
        let read = &self.reads[column.read];
        &read.view.features[read.features[column.slot]].name
    }

    /// The view of a requested feature.
    pub(crate) fn view_name(&self, column: SelectedColumn) -> &str {
        &self.reads[column.read].view.name
    }
}

impl Directory {
    /// A directory of these. Names are unique in a checked plan; should one stand twice, the last counts.
    pub fn new(
        views: impl IntoIterator<Item = ViewRef>,
        services: impl IntoIterator<Item = Service>,
        sources: impl IntoIterator<Item = (String, PushEntry)>,
    ) -> Self {
        let mut directory = Self::default();
        for view in views {
            for key in &view.keys {
                directory.join_keys.insert(key.name.clone(), key.data_type.clone());
            }
            directory.views.insert(view.name.clone(), view);
        }
        directory.sources.extend(sources.into_iter().map(|(name, entry)| (name, Arc::new(entry))));
        for service in services {
            let selection = directory.resolve(&service);
            directory.services.insert(service.name, selection);
        }
        directory
    }

    /// The same, with views whose rows are in a store that all hosts share.
    #[must_use]
    pub fn with_shared_rows(mut self, views: impl IntoIterator<Item = String>) -> Self {
        self.shared_rows.extend(views);
        self
    }

    fn resolve(&self, service: &Service) -> Result<Arc<Selection>, Missing> {
        let mut selection = Selection::default();
        for (view, feature) in &service.features {
            selection.add(self, view, feature.as_deref())?;
        }
        Ok(Arc::new(selection))
    }

    pub(crate) fn view(&self, name: &str) -> Option<&ViewRef> {
        self.views.get(name)
    }

    pub(crate) fn service(&self, name: &str) -> Option<&Result<Arc<Selection>, Missing>> {
        self.services.get(name)
    }

    pub(crate) fn source(&self, name: &str) -> Option<&Arc<PushEntry>> {
        self.sources.get(name)
    }

    /// How many partitions of a view's source this host reads, of how many, if it lacks the rows of the others.
    pub(crate) fn partial(&self, view: &ViewShape) -> Option<(u32, u32)> {
        if self.shared_rows.contains(&view.name) {
            return None;
        }
        self.sources.get(&view.source)?.shared.as_ref()?.share.partial()
    }

    /// Sources whose partitions hosts share, by name.
    pub(crate) fn shared(&self) -> BTreeMap<&str, &SharedStream> {
        self.sources
            .iter()
            .filter_map(|(name, entry)| Some((name.as_str(), entry.shared.as_ref()?)))
            .collect()
    }

    /// Features by view and name, in this order.
    pub(crate) fn select<'a>(
        &self,
        features: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Selection, Missing> {
        let mut selection = Selection::default();
        for (view, feature) in features {
            selection.add(self, view, Some(feature))?;
        }
        Ok(selection)
    }

    /// The type of a join key that some view has.
    pub(crate) fn join_key(&self, name: &str) -> Option<&DataType> {
        self.join_keys.get(name)
    }

    pub(crate) fn view_names(&self) -> Vec<&str> {
        self.views.keys().map(String::as_str).collect()
    }

    pub(crate) fn service_names(&self) -> Vec<&str> {
        self.services.keys().map(String::as_str).collect()
    }

    pub(crate) fn source_names(&self) -> Vec<&str> {
        self.sources.keys().map(String::as_str).collect()
    }

    pub(crate) fn join_key_names(&self) -> Vec<&str> {
        self.join_keys.keys().map(String::as_str).collect()
    }
}
