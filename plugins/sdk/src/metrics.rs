//! What the host measured.

use serde_json::{Map, Value, json};

/// The figures of one `CheckIdle`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    /// Percent of all cores.
    pub cpu_usage: f64,
    /// Percent of the memory.
    pub memory_usage: f64,
    /// Kilobytes a second, both ways.
    pub network_traffic: f64,
    /// Kilobytes a second, both ways.
    pub disk_io: f64,
    /// Percent.
    pub gpu_usage: f64,
    /// When, in seconds since 1970.
    pub timestamp: i64,
    /// Whatever else the host measured, by name.
    pub more: Map<String, Value>,
}

const NAMED: [&str; 6] =
    ["cpu_usage", "memory_usage", "network_traffic", "disk_io", "gpu_usage", "timestamp"];

impl Metrics {
    /// The value of `params.metrics`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut map = self.more.clone();
        let named = [
            json!(self.cpu_usage),
            json!(self.memory_usage),
            json!(self.network_traffic),
            json!(self.disk_io),
            json!(self.gpu_usage),
            json!(self.timestamp),
        ];
        map.extend(NAMED.iter().map(|name| (*name).to_owned()).zip(named));
        Value::Object(map)
    }

    /// Reads the value of `params.metrics`; a figure that is absent or no number is zero.
    #[must_use]
    pub fn read(value: &Value) -> Self {
        let figure = |name: &str| value.get(name).and_then(Value::as_f64).unwrap_or(0.0);
        let more = value.as_object().into_iter().flatten();
        Self {
            cpu_usage: figure("cpu_usage"),
            memory_usage: figure("memory_usage"),
            network_traffic: figure("network_traffic"),
            disk_io: figure("disk_io"),
            gpu_usage: figure("gpu_usage"),
            timestamp: value.get("timestamp").and_then(Value::as_i64).unwrap_or(0),
            more: more
                .filter(|(name, _)| !NAMED.contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s1_18_the_keys_and_units_are_those_of_the_protocol() {
        let wire = json!({
            "cpu_usage": 1.5, "memory_usage": 25.0, "network_traffic": 0.1, "disk_io": 0.5,
            "gpu_usage": 0.0, "timestamp": 1650000000, "input_idle_secs": 12,
        });
        let metrics = Metrics::read(&wire);
        assert_eq!((metrics.cpu_usage, metrics.timestamp), (1.5, 1_650_000_000));
        assert_eq!(metrics.to_value(), wire);
    }
}
