//! Service versions to deploy.

use crate::api_node::ENTRY;
use serde_json::{Map, Value, json};
use std::io::{Cursor, Write};
use zip::result::ZipResult;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// What a sample service version holds.
#[derive(Debug, Clone)]
pub struct ServiceSpec {
    /// The service's id.
    pub service_id: String,
    /// The id of this version; on an API node, of this generation.
    pub generation: String,
    /// Ids and types of the endpoints.
    pub endpoints: Vec<(String, String)>,
    /// PUBLIC, API_KEYS or OAUTH2.
    pub auth_method: String,
    /// The keys for API_KEYS.
    pub api_keys: Vec<String>,
    /// The names of the code envs that it uses.
    pub code_envs: Vec<String>,
    /// Further keys of `service.json`, such as `oauth2` and `auditing`; they win.
    pub more: Map<String, Value>,
}

impl ServiceSpec {
    /// A public service with one endpoint, `score`, of type STD_PREDICTION, and a code env.
    pub fn new(service_id: &str, generation: &str) -> Self {
        Self {
            service_id: service_id.to_owned(),
            generation: generation.to_owned(),
            endpoints: vec![("score".to_owned(), "STD_PREDICTION".to_owned())],
            auth_method: "PUBLIC".to_owned(),
            api_keys: Vec::new(),
            code_envs: vec!["py_sample".to_owned()],
            more: Map::new(),
        }
    }

    /// With one more endpoint.
    #[must_use]
    pub fn endpoint(mut self, id: &str, kind: &str) -> Self {
        self.endpoints.push((id.to_owned(), kind.to_owned()));
        self
    }

    /// Asks for one of these keys.
    #[must_use]
    pub fn keys(mut self, keys: &[&str]) -> Self {
        "API_KEYS".clone_into(&mut self.auth_method);
        self.api_keys = keys.iter().map(|key| (*key).to_owned()).collect();
        self
    }

    /// With a further key of `service.json`.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// `service.json`.
    pub fn manifest(&self) -> Value {
        let endpoints: Vec<Value> = self.endpoints.iter().map(|(id, kind)| json!({"id": id, "type": kind})).collect();
        let code_envs: Vec<Value> = self.code_envs.iter().map(|name| json!({"name": name, "lang": "PYTHON"})).collect();
        let mut value = json!({
            "formatVersion": 1, "serviceId": self.service_id, "generation": self.generation,
            "authMethod": self.auth_method, "apiKeys": self.api_keys, "endpoints": endpoints, "codeEnvs": code_envs,
            "modelRuntime": "python3.11",
        });
        if let Some(object) = value.as_object_mut() {
            object.extend(self.more.clone());
        }
        value
    }

    fn write(&self) -> ZipResult<Vec<u8>> {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file(ENTRY, options)?;
        zip.write_all(format!("{:#}", self.manifest()).as_bytes())?;
        // Names are counted, so that no id can make two entries of one name.
        for (number, (id, kind)) in self.endpoints.iter().enumerate() {
            zip.start_file(format!("endpoints/endpoint_{number}/model.json"), options)?;
            zip.write_all(json!({"endpoint": id, "type": kind}).to_string().as_bytes())?;
        }
        Ok(zip.finish()?.into_inner())
    }
}

/// A small service version, as the bytes of its archive. The same spec makes the same bytes.
pub fn sample_service(spec: &ServiceSpec) -> Vec<u8> {
    match spec.write() {
        Ok(archive) => archive,
        Err(error) => unreachable!("an archive of counted names in memory can't fail: {error}"),
    }
}
