//! A bucket: moto in the part of S3, with a user who may do what docs/OPERATIONS.md asks for, and nothing else.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

/// The bucket's name.
pub const NAME: &str = "ours";

/// A bucket in an S3 of its own, which ends with it.
#[derive(Debug)]
pub struct Bucket {
    server: Mutex<(Child, ChildStdin, BufReader<ChildStdout>)>,
    told: Value,
}

impl Bucket {
    /// Starts one; nothing is in it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn launch() -> Self {
        let all = format!("arn:aws:s3:::{NAME}/*");
        let policy = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": format!("arn:aws:s3:::{NAME}")},
            {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"], "Resource": all},
        ]});
        let here = env!("CARGO_MANIFEST_DIR");
        let folder = format!("{here}/../target/tmp/judges-of-aws");
        let code_env = Command::new(format!("{here}/../scripts/code-env"))
            .args([&folder, "python3", "moto[server]==5.2.5"])
            .output()
            .unwrap();
        assert!(code_env.status.success(), "{}", String::from_utf8_lossy(&code_env.stderr));
        let mut server = Command::new(String::from_utf8(code_env.stdout).unwrap().trim())
            .args([&format!("{here}/harness/bucket.py"), NAME, &policy.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (questions, mut answers) = (server.stdin.take().unwrap(), BufReader::new(server.stdout.take().unwrap()));
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line).expect("moto did not start");
        Self { server: Mutex::new((server, questions, answers)), told }
    }

    fn told(&self, what: &str) -> &str {
        self.told[what].as_str().unwrap()
    }

    /// What opens it, as the environment says it.
    pub fn variables(&self) -> [(&'static str, &str); 5] {
        [
            ("AWS_ENDPOINT_URL", self.told("url")),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", self.told("keyId")),
            ("AWS_SECRET_ACCESS_KEY", self.told("secret")),
        ]
    }

    /// Everything in it, as somebody else reads it.
    ///
    /// # Panics
    /// When it has ended.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, questions, answers) = &mut *server;
        writeln!(questions).unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let found: BTreeMap<String, String> = serde_json::from_str(&line).unwrap();
        found.into_iter().map(|(key, content)| (key, BASE64_STANDARD.decode(content).unwrap())).collect()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let (server, ..) = self.server.get_mut().unwrap_or_else(PoisonError::into_inner);
        // One that has ended by itself is what this is for.
        let _ = server.kill().and_then(|()| server.wait());
    }
}
