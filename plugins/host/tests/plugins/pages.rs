//! What the page of a plugin says is what the plugin says.

use std::fs;
use std::path::Path;

use host_plugins::{
    ContainerStopper, CriuCheckpointer, SignalCheckpoint, SlurmRequeue, UnitStopper, VolumeSync,
};
use serde_json::Value;
use snooze_plugin::Plugin;

#[test]
fn the_page_of_each_plugin_tells_its_settings_and_permissions_and_shows_a_policy_that_it_takes() {
    for mut plugin in plugins() {
        let info = plugin.info();
        let page = page(&info.name);
        assert!(page.starts_with(&format!("# {}\n", info.name)));
        for setting in info.config_schema.keys() {
            assert!(page.contains(&format!("\n| `{setting}` |")), "{}: {setting}", info.name);
        }
        for permission in &info.permissions {
            assert!(page.contains(&format!("`{permission}`")), "{}: {permission}", info.name);
        }
        let mut shown = 0;
        for block in page.split("```json\n").skip(1) {
            let policy = block.split("```").next().unwrap();
            snooze_policy::check(policy)
                .unwrap_or_else(|faults| panic!("{}: {faults:?}", info.name));
            let policy: Value = serde_json::from_str(policy).unwrap();
            for handler in policy["handlers"].as_array().unwrap() {
                if handler["plugin"] == info.name {
                    let config = handler["config"].as_object().cloned().unwrap_or_default();
                    plugin.configure(&config).unwrap_or_else(|e| panic!("{}: {e}", info.name));
                    shown += 1;
                }
            }
        }
        assert!(shown > 0, "{}: its page shows no policy with it", info.name);
    }
}

fn plugins() -> Vec<Box<dyn Plugin>> {
    vec![
        Box::new(ContainerStopper::default()),
        Box::new(CriuCheckpointer::default()),
        Box::new(SignalCheckpoint::default()),
        Box::new(SlurmRequeue::default()),
        Box::new(UnitStopper::default()),
        Box::new(VolumeSync::default()),
    ]
}

fn page(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/plugins");
    fs::read_to_string(folder.join(format!("{name}.md"))).unwrap()
}
