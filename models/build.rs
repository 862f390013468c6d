//! With feature `tensorflow`: finds the native library and lets this package's tests find it at run
//! time. Link arguments reach only a package's own targets, so packages that make programs do the
//! same with `DEP_TIDEFLOW_NATIVE_LIBDIR`, which Cargo gives to the build scripts of packages that
//! depend on this one directly.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "tensorflow")]
    native_library();
}

#[cfg(feature = "tensorflow")]
fn native_library() {
    // The linking itself is done by tensorflow-sys, which asks pkg-config the same question.
    let found = pkg_config::Config::new().cargo_metadata(false).env_metadata(true).probe("tensorflow");
    let library = match found {
        Ok(library) => library,
        Err(error) => {
            let path = std::env::var("PKG_CONFIG_PATH").unwrap_or_default();
            println!(
                "cargo::error=TensorFlow's native library was not found: run `make setup`. \
                 PKG_CONFIG_PATH is `{path}` and should name the folder `.tideflow/native` of this \
                 repository (`.cargo/config.toml` sets it where you have no value of your own)"
            );
            println!("cargo::error={}", error.to_string().replace('\n', " "));
            std::process::exit(1);
        }
    };
    for folder in &library.link_paths {
        let folder = folder.display();
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
        println!("cargo::metadata=LIBDIR={folder}");
        // A rebuilt link must not leave a stale path in the tests.
        println!("cargo::rerun-if-changed={folder}");
    }
}
