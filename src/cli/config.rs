//! `curtail config`

/// Prints the settings in force, one a line, in the form of an environment file.
pub(super) fn config() -> Result<(), String> {
    let (_, effective) = super::settings::load().map_err(|faults| faults.to_string())?;
    for setting in effective {
        match setting.value {
            Some(value) => println!("{}={value}", setting.name),
            None => println!("# {} is unset", setting.name),
        }
    }
    Ok(())
}
