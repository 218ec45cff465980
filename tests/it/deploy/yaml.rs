//! YAML files as JSON values, for the lint.

use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::{Map, Value};

/// The documents of a YAML text.
pub fn documents(text: &str) -> Vec<Value> {
    let documents = Yaml::load_from_str(text).unwrap_or_else(|error| panic!("not YAML: {error}"));
    documents.iter().map(value).collect()
}

/// The one document of a YAML text.
pub fn document(text: &str) -> Value {
    let mut all = documents(text);
    assert_eq!(all.len(), 1, "one document was expected");
    all.remove(0)
}

fn value(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Boolean(flag)) => Value::from(*flag),
        Yaml::Value(Scalar::Integer(number)) => Value::from(*number),
        Yaml::Value(Scalar::FloatingPoint(number)) => Value::from(number.into_inner()),
        Yaml::Value(Scalar::String(text)) => Value::from(text.as_ref()),
        Yaml::Sequence(items) => items.iter().map(value).collect(),
        Yaml::Mapping(entries) => {
            let mut object = Map::new();
            for (key, entry) in entries {
                let key = match value(key) {
                    Value::String(key) => key,
                    other => other.to_string(),
                };
                let entry = value(entry);
                match entry {
                    // `<<: *anchor`: what the map itself says goes before what it takes over.
                    Value::Object(merged) if key == "<<" => {
                        for (key, entry) in merged {
                            object.entry(key).or_insert(entry);
                        }
                    }
                    entry => {
                        object.insert(key, entry);
                    }
                }
            }
            Value::Object(object)
        }
        _ => Value::Null,
    }
}
