//! Tests with a runtime of their own.

use libtest_mimic::Trial;

/// A test of this name.
pub fn of<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F + Send + 'static) -> Trial {
    Trial::test(name, || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test());
        Ok(())
    })
}
