//! The registry's dispatch: it finds the method by the request's type, as Execute and Transact need
//! it.

use bookstore_proto::v1::{Category, CreateCategoryRequest, GetCategoryRequest};
use bookstore_server::{
    app,
    rpc::{calls::Calls, method::MethodKind, refused::Refused, registry::Prepared, rules::Rules},
};
use bookstore_store::{
    Call, Deadline, Freshness, PoolOptions, StatementLog, Store, StoreOptions, TopologyOptions,
};
use bookstore_tests::{Database, Engine, Origin, SOON, on_every_engine, run};
use prost::{Message, Name};
use sea_orm::IsolationLevel;

on_every_engine!(registry_dispatches_a_request_by_its_type);

async fn registry_dispatches_a_request_by_its_type(engine: Engine) {
    let database = Database::create(engine, Origin::Migrated).await;
    if engine == Engine::Sqlite {
        let url = database.url();
        assert_eq!(run(&["migrate", "up"], &[("DATABASE_URL", &url)]).await.code, Some(0));
    }
    let store = Store::new(StoreOptions {
        nodes: vec![("primary".into(), database.url())],
        topology: TopologyOptions::default(),
        sealing_key: None,
        pool: PoolOptions { size: 1, max_overflow: 0, timeout: SOON, ..PoolOptions::default() },
        command_timeout: SOON,
        read_timeout: SOON,
        statement_log: StatementLog::default(),
    });
    let store = store.expect("a store");
    store.schema(&bookstore_tests::known_revisions(), Deadline::NONE).await.expect("a schema");
    let calls = Calls::new(store.clone(), Rules::of_contract().expect("rules"), 1 << 20);
    let registry = app::registry().expect("every method of the contract");

    let registered = registry.taking(&CreateCategoryRequest::full_name()).expect("a method");
    let method = &registered.method;
    assert_eq!(method.path, "/bookstore.v1.CategoryService/CreateCategory");
    assert_eq!(method.kind, MethodKind::Write);
    assert_eq!((&*method.answer, method.unary), ("bookstore.v1.Category", true));
    let category = Category { name: "Poetry".into(), ..Default::default() };
    let request = CreateCategoryRequest { category: Some(category), id: String::new() };
    let Ok(Prepared::Write(write)) = registered.prepare(&calls, None, &request.encode_to_vec())
    else {
        panic!("a write")
    };
    let call = Call { isolation: IsolationLevel::Serializable, ..Call::internal(method.path) };
    let committed = store.run(call, write).await.expect("a successful call");
    let created = Category::decode(&*committed.answer).expect("a category");
    assert_eq!(created.name, "Poetry");

    let registered = registry.taking(&GetCategoryRequest::full_name()).expect("a method");
    assert_eq!(registered.method.kind, MethodKind::Read);
    let request = GetCategoryRequest { id: created.id.clone() };
    let Ok(Prepared::Read(read)) = registered.prepare(&calls, None, &request.encode_to_vec())
    else {
        panic!("a read")
    };
    let reader = store.reader(Freshness::Strong, Deadline::NONE).await.expect("a reader");
    let answer = read.fetch(&reader).await.expect("a successful call");
    assert_eq!(Category::decode(&*answer), Ok(created));

    let wrong = GetCategoryRequest { id: "x".into() }.encode_to_vec();
    let refused = registered.prepare(&calls, None, &wrong).err().expect("the same checks");
    assert!(matches!(refused, Refused::Invalid(violations) if violations[0].field == "id"));
    assert!(registry.taking("bookstore.v1.Category").is_none(), "no method takes it");
}
