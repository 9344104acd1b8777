//! The proxy settings of the environment do not reach the metadata client.
//!
//! The environment belongs to a whole process, so each test of it runs in a process of its own.

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Shutdown, TcpListener};
    use std::process::Command;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use snooze_imds::fake::Server;
    use snooze_imds::{Answer, Client, Path, Settings};

    const ENDPOINT: &str = "SNOOZE_TEST_ENDPOINT";
    const PROXIES: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

    #[test]
    fn a8_a_proxy_in_the_environment_sees_nothing() {
        let server = Server::spawn().unwrap();
        let (proxy, seen) = recorder();
        run("child_that_asks_the_metadata_service", &server.url(), &proxy);
        assert_eq!(seen.load(Ordering::SeqCst), 0);
        assert_eq!(server.asked(&Path::LifeCycle.as_str()), 1);
        // The recorder is worth something only if it sees a client that does heed the proxy.
        run("child_that_heeds_the_proxy", &server.url(), &proxy);
        assert_eq!(seen.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn child_that_asks_the_metadata_service() {
        let Some(endpoint) = endpoint() else { return };
        let answer = block_on(async {
            let timeout = std::time::Duration::from_secs(20);
            let settings = Settings { timeout, ..Settings::at(&endpoint) };
            Client::new(settings).unwrap().get(&Path::LifeCycle).await
        });
        assert_eq!(answer, Ok(Answer::Found("spot".to_owned())));
    }

    #[test]
    fn child_that_heeds_the_proxy() {
        let Some(endpoint) = endpoint() else { return };
        let answer = block_on(async {
            let client = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
            client.get(endpoint).send().await
        });
        assert!(answer.is_err());
    }

    /// Runs one test of this file in a process whose environment names a proxy.
    fn run(test: &str, endpoint: &str, proxy: &str) {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", &format!("tests::{test}")]).env(ENDPOINT, endpoint);
        child.env_remove("NO_PROXY").env_remove("no_proxy").env_remove("REQUEST_METHOD");
        for name in PROXIES {
            child.env(name, proxy);
        }
        let output = child.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
    }

    #[expect(clippy::disallowed_methods, reason = "how the parent process hands a value over")]
    fn endpoint() -> Option<String> {
        std::env::var(ENDPOINT).ok()
    }

    /// A proxy that only counts the connections that say something.
    fn recorder() -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                if stream.read(&mut [0; 64]).unwrap_or(0) > 0 {
                    count.fetch_add(1, Ordering::SeqCst);
                }
                let _closed = stream.shutdown(Shutdown::Both);
            }
        });
        (address, seen)
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }
}
