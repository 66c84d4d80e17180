//! Which store has the rows of a view: writes and reads go there.
//!
//! Views that are not named go to the store of this host. What stores do is theirs; nothing is opened or noted here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready, try_join_all};
use model::batch::{Applied, FeatureBatch};
use model::error::{Disposition, Failure};
use model::online::{Lookup, OnlineReader, OnlineStore, StoredRow};
use model::value::Value;
use model::view::ViewShape;

/// A store that takes rows and gives them back.
pub(super) trait Rows: OnlineStore + OnlineReader {}

impl<T: OnlineStore + OnlineReader> Rows for T {}

/// Sends writes and reads to the store that has the rows.
pub(super) struct Router {
    /// Takes the rows of all other views.
    local: Arc<dyn OnlineStore>,
    /// Gives them back. Apart, because a benchmark may write nowhere.
    local_reader: Arc<dyn OnlineReader>,
    /// By view. Looked at for each batch and request, changed when a view starts.
    shared: ArcSwap<HashMap<String, Route>>,
}

/// A store that several hosts share, by the name of its connection.
#[derive(Clone)]
struct Route {
    connection: String,
    store: Arc<dyn Rows>,
}

impl Router {
    /// All views go to the local store.
    pub(super) fn new(local: Arc<dyn OnlineStore>, local_reader: Arc<dyn OnlineReader>) -> Self {
        Self { local, local_reader, shared: ArcSwap::default() }
    }

    /// Where the rows of a view are from now on: `None` = in the local store. To be called before the view starts.
    pub(super) fn set(&self, view: &str, to: Option<(&str, &Arc<dyn Rows>)>) {
        let is_known = match (self.shared.load().get(view), to) {
            (None, None) => true,
            (Some(known), Some((connection, store))) => {
                known.connection == connection && Arc::ptr_eq(&known.store, store)
            }
            _ => false,
        };
        if is_known {
            return;
        }
        self.shared.rcu(|known| {
            let mut routes = HashMap::clone(known);
            match to {
                Some((connection, store)) => {
                    let route = Route { connection: connection.to_owned(), store: Arc::clone(store) };
                    routes.insert(view.to_owned(), route);
                }
                None => {
                    routes.remove(view);
                }
            }
            routes
        });
    }

    fn shared(&self, view: &str) -> Option<Route> {
        self.shared.load().get(view).cloned()
    }
}

impl OnlineStore for Router {
    fn write(&self, batch: Arc<FeatureBatch>) -> BoxFuture<'static, Result<Applied, Failure>> {
        match self.shared(&batch.view.name) {
            Some(route) => route.store.write(batch),
            None => self.local.write(batch),
        }
    }

    /// The local store keeps the positions of all views, and what these rest on is noted in its checkpoint.
    fn checkpoint(&self) -> BoxFuture<'static, Result<(), Failure>> {
        self.local.checkpoint()
    }
}

impl OnlineReader for Router {
    fn get(
        &self,
        view: &Arc<ViewShape>,
        keys: Vec<Vec<Value>>,
        features: Vec<usize>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredRow>>, Failure>> {
        match self.shared(&view.name) {
            Some(route) => route.store.get(view, keys, features),
            None => self.local_reader.get(view, keys, features),
        }
    }

    fn get_all(
        &self,
        lookups: Vec<Lookup>,
    ) -> BoxFuture<'static, Result<Vec<Vec<Option<StoredRow>>>, Failure>> {
        let routes = self.shared.load();
        let mut parts: BTreeMap<Option<&str>, Part> = BTreeMap::new();
        let wanted = lookups.len();
        for (place, lookup) in lookups.into_iter().enumerate() {
            let route = routes.get(&lookup.view.name);
            let part = parts.entry(route.map(|route| route.connection.as_str())).or_insert_with(|| Part {
                store: match route {
                    Some(route) => Arc::clone(&route.store) as Arc<dyn OnlineReader>,
                    None => Arc::clone(&self.local_reader),
                },
                places: Vec::new(),
                lookups: Vec::new(),
            });
            part.places.push(place);
            part.lookups.push(lookup);
        }
        let asked = parts.into_values().map(|part| {
            let places = part.places;
            part.store.get_all(part.lookups).map(|found| found.map(|found| (places, found)))
        });
        let asked = try_join_all(asked);
        async move {
            let mut all = vec![Vec::new(); wanted];
            for (places, found) in asked.await? {
                for (place, rows) in places.into_iter().zip(found) {
                    all[place] = rows;
                }
            }
            Ok(all)
        }
        .boxed()
    }
}

/// Stands for a store that cannot be opened: its views' rows are not in another one, and not missing either.
pub(super) struct Closed {
    disposition: Disposition,
    message: String,
}

impl Closed {
    pub(super) fn new(why: &Failure) -> Self {
        Self { disposition: why.disposition, message: why.to_string() }
    }

    fn refuse<T: Send + 'static>(&self) -> BoxFuture<'static, Result<T, Failure>> {
        let failure = Failure { disposition: self.disposition, message: self.message.clone(), source: None };
        ready(Err(failure)).boxed()
    }
}

impl OnlineStore for Closed {
    fn write(&self, _: Arc<FeatureBatch>) -> BoxFuture<'static, Result<Applied, Failure>> {
        self.refuse()
    }

    fn checkpoint(&self) -> BoxFuture<'static, Result<(), Failure>> {
        self.refuse()
    }
}

impl OnlineReader for Closed {
    fn get(
        &self,
        _: &Arc<ViewShape>,
        _: Vec<Vec<Value>>,
        _: Vec<usize>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredRow>>, Failure>> {
        self.refuse()
    }
}

/// What one store is asked for.
struct Part {
    store: Arc<dyn OnlineReader>,
    /// Where its answers belong.
    places: Vec<usize>,
    lookups: Vec<Lookup>,
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt;
    use model::batch::FeatureBatch;
    use model::position::{Covers, Partition, Position, PositionColumn, RowVersion};
    use model::schema::{DataType, Field};
    use model::view::{Digest, Generation};

    use super::*;

    /// A store that says its name as the only value of every row.
    struct Named(&'static str, Mutex<Vec<String>>);

    impl Named {
        fn new(name: &'static str) -> Arc<Self> {
            Arc::new(Self(name, Mutex::default()))
        }

        fn told(&self) -> Vec<String> {
            std::mem::take(&mut *self.1.lock().unwrap())
        }
    }

    impl OnlineStore for Named {
        fn write(&self, batch: Arc<FeatureBatch>) -> BoxFuture<'static, Result<Applied, Failure>> {
            self.1.lock().unwrap().push(format!("write {}", batch.view.name));
            ready(Ok(Applied::default())).boxed()
        }

        fn checkpoint(&self) -> BoxFuture<'static, Result<(), Failure>> {
            self.1.lock().unwrap().push("checkpoint".to_owned());
            ready(Ok(())).boxed()
        }
    }

    impl OnlineReader for Named {
        fn get(
            &self,
            view: &Arc<ViewShape>,
            keys: Vec<Vec<Value>>,
            _: Vec<usize>,
        ) -> BoxFuture<'static, Result<Vec<Option<StoredRow>>, Failure>> {
            let version = RowVersion {
                event_time: 1,
                partition: Partition::new("p"),
                position: Position::from_u64(1),
                generation: 1,
                row: 0,
            };
            let text = format!("{} has {}", self.0, view.name);
            let row = StoredRow { version, values: vec![Value::String(text)] };
            ready(Ok(vec![Some(row); keys.len()])).boxed()
        }

        fn get_all(
            &self,
            lookups: Vec<Lookup>,
        ) -> BoxFuture<'static, Result<Vec<Vec<Option<StoredRow>>>, Failure>> {
            self.1.lock().unwrap().push(format!("get {}", lookups.len()));
            let found: Vec<_> =
                lookups.into_iter().map(|one| self.get(&one.view, one.keys, one.features)).collect();
            try_join_all(found).boxed()
        }
    }

    fn view(name: &str) -> Arc<ViewShape> {
        Arc::new(ViewShape {
            project: "p".to_owned(),
            name: name.to_owned(),
            source: "s".to_owned(),
            id: String::new(),
            keys: vec![Field::required("id", DataType::Int64)],
            features: Vec::new(),
            ttl_micros: None,
            online: true,
        })
    }

    fn batch(view_name: &str) -> Arc<FeatureBatch> {
        let position = Position::from_u64(1);
        Arc::new(FeatureBatch {
            view: view(view_name),
            rows: arrow_array::RecordBatch::new_empty(Arc::new(arrow_schema::Schema::empty())),
            event_times: Vec::new(),
            partition: Partition::new("p"),
            positions: PositionColumn::new(8),
            ordinals: Vec::new(),
            generation: Generation { number: 1, digest: Digest([0; 32]) },
            covers: Covers { first: position, through: position },
        })
    }

    fn router() -> (Router, [Arc<Named>; 3]) {
        let stores = [Named::new("local"), Named::new("one"), Named::new("two")];
        let [local, one, two] = &stores;
        let router = Router::new(Arc::clone(local) as _, Arc::clone(local) as _);
        let route = |store: &Arc<Named>| Arc::clone(store) as Arc<dyn Rows>;
        router.set("a", Some(("one", &route(one))));
        router.set("b", Some(("two", &route(two))));
        router.set("c", Some(("one", &route(one))));
        (router, stores)
    }

    #[test]
    fn rows_go_where_their_view_is() {
        let (router, [local, one, two]) = router();
        for view in ["a", "b", "c", "d"] {
            router.write(batch(view)).now_or_never().unwrap().unwrap();
        }
        router.checkpoint().now_or_never().unwrap().unwrap();
        assert_eq!(local.told(), ["write d", "checkpoint"]);
        assert_eq!(one.told(), ["write a", "write c"]);
        assert_eq!(two.told(), ["write b"]);
        router.set("a", None);
        router.write(batch("a")).now_or_never().unwrap().unwrap();
        assert_eq!((local.told(), one.told()), (vec!["write a".to_owned()], Vec::new()));
    }

    #[test]
    fn rows_of_a_store_that_cannot_be_opened_are_not_missing() {
        let (router, [local, ..]) = router();
        let closed = Closed::new(&Failure::stop("open the store"));
        router.set("d", Some(("three", &(Arc::new(closed) as Arc<dyn Rows>))));
        let lookup = Lookup { view: view("d"), keys: vec![vec![Value::Int(1)]], features: vec![0] };
        let failure = router.get_all(vec![lookup]).now_or_never().unwrap().unwrap_err();
        assert_eq!((failure.disposition, failure.message.as_str()), (Disposition::Stop, "open the store"));
        assert_eq!(local.told(), [""; 0]);
    }

    #[test]
    fn each_store_is_asked_once_and_answers_stand_in_their_order() {
        let (router, [local, one, two]) = router();
        let lookup = |name: &str, keys: i64| Lookup {
            view: view(name),
            keys: (0..keys).map(|key| vec![Value::Int(key)]).collect(),
            features: vec![0],
        };
        let lookups = vec![lookup("d", 1), lookup("a", 2), lookup("b", 0), lookup("c", 1), lookup("e", 1)];
        let found = router.get_all(lookups).now_or_never().unwrap().unwrap();
        let texts: Vec<Vec<String>> = found
            .into_iter()
            .map(|rows| rows.into_iter().map(|row| format!("{:?}", row.unwrap().values[0])).collect())
            .collect();
        let text = |text: &str| format!("{:?}", Value::String(text.to_owned()));
        let expected: Vec<Vec<String>> = vec![
            vec![text("local has d")],
            vec![text("one has a"); 2],
            vec![],
            vec![text("one has c")],
            vec![text("local has e")],
        ];
        assert_eq!(texts, expected);
        assert_eq!(
            (local.told(), one.told(), two.told()),
            (vec!["get 2".to_owned()], vec!["get 2".to_owned()], vec!["get 1".to_owned()],)
        );
    }
}
