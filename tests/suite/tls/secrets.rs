//! A private key appears nowhere but in its file.

use bookstore_tests::{Engine, TestServer, TlsFiles, run};

use super::{Authority, SOON, USUAL, config, connect, list, until};
use crate::admin;

bookstore_tests::on_every_engine!(private_key_is_never_shown);

async fn private_key_is_never_shown(engine: Engine) {
    let files = TlsFiles::new();
    let server = TestServer::builder(engine)
        .tls(&files, None)
        .env("ADMIN_ADDR", "127.0.0.1:0")
        .env("LOG_LEVEL", "trace")
        .start()
        .await;
    let planted = std::fs::read_to_string(files.path("server.key")).expect("the key");
    list(&server).await;
    connect(server.address(), config(&files.authority, USUAL)).await.expect("a connection");
    // Every way in which a key can be of no use: cut, of another certificate, not PEM.
    let other = Authority::new("Another authority").server().key;
    let half = &planted[..planted.len() / 2];
    let garbled = planted.replace("PRIVATE", "PRIVAT");
    let no_base64 = planted.replacen("-----\n", "-----\n!", 1);
    let mut shown = Vec::new();
    for key in [half, &other, &garbled, &no_base64] {
        let before = server.logs().so_far().len();
        files.write("server.key", key);
        until("the file is reported", SOON, async || {
            let lines = server.logs().so_far();
            lines[before..].iter().any(|line| line.contains("can't be used"))
        })
        .await;
        let settings = files.settings();
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let printed = run(&["config"], &settings).await;
        assert_eq!(printed.code, Some(0), "{printed:?}");
        shown.extend([printed.output, printed.errors]);
        let url = server.database().url();
        let settings = [&settings[..], &[("DATABASE_URL", url.as_str())]].concat();
        let refused = run(&["serve", "--listen-addr", "127.0.0.1:0"], &settings).await;
        assert_eq!(refused.code, Some(64), "{refused:?}");
        shown.extend([refused.output, refused.errors]);
    }
    let address = server.admin_address().await;
    for path in ["/status", "/metrics", "/topology", "/calls", "/pools"] {
        shown.push(admin::get(address, path).await.1);
    }
    shown.extend(server.logs().so_far());
    shown.push(server.command_line());
    // Any line of the key's content, and any part of it that a message may quote.
    let lines = |key: &str| {
        let lines = key.lines().filter(|line| !line.starts_with('-') && line.len() >= 16);
        lines.map(|line| line[..16].to_owned()).collect::<Vec<_>>()
    };
    let secrets = [lines(&planted), lines(&other), lines(&no_base64)].concat();
    assert!(secrets.len() >= 6, "{secrets:?}");
    for text in &shown {
        let found = secrets.iter().find(|secret| text.contains(*secret));
        assert!(found.is_none(), "a part of a private key in {text}");
    }
}
