//! The distributed semaphore.

use tests::{Store, base::Base, redis::Redis};

#[tokio::test(flavor = "multi_thread")]
async fn servers() {
    let base = Base::new(Store::Postgres).await;
    assert!(base.db.now().await.unwrap() > 0);
    let mut redis = Redis::private().await;
    redis.command("SET a b").await.unwrap();
    redis.restart().await;
    assert_eq!(redis.command("EXISTS a").await.unwrap(), ":1");
    redis.restart_empty().await;
    assert_eq!(redis.command("EXISTS a").await.unwrap(), ":0");
    redis.flush().await;
    redis.cut_clients().await;
}
#[tokio::test(flavor = "multi_thread")]
async fn shared_servers() {
    Base::new(Store::Postgres).await;
    Redis::shared().await;
    if std::env::var("HANG").is_ok() { std::future::pending::<()>().await; }
}
