//! The operator's page, made small: names shortened, space and comments taken out, nothing joined or renamed
//! that one file sees of another. A debug build serves the page from its source instead.

#[cfg(feature = "server")]
mod page {
    use std::error::Error;
    use std::fs;
    use std::path::Path;

    use oxc_allocator::Allocator;
    use oxc_codegen::{Codegen, CodegenOptions, CommentOptions};
    use oxc_minifier::{CompressOptions, MangleOptions, Minifier, MinifierOptions};
    use oxc_parser::Parser;
    use oxc_span::SourceType;

    type Outcome<T> = Result<T, Box<dyn Error>>;

    pub(super) fn build(source: &Path, target: &Path) -> Outcome<()> {
        // What an earlier build put there and the source has no more must not be served.
        if target.exists() {
            fs::remove_dir_all(target)?;
        }
        fs::create_dir_all(target)?;
        for entry in fs::read_dir(source)? {
            let from = entry?.path();
            let to = target.join(from.file_name().unwrap_or_default());
            if from.is_dir() {
                build(&from, &to)?;
                continue;
            }
            let text = fs::read_to_string(&from)?;
            let small = match from.extension().and_then(|ending| ending.to_str()) {
                Some("js") => script(&text),
                Some("css") => style(&text),
                Some("html") => Ok(markup(&text)),
                _ => Ok(text),
            };
            fs::write(to, small.map_err(|error| format!("{}: {error}", from.display()))?)?;
        }
        Ok(())
    }

    fn script(text: &str) -> Outcome<String> {
        let room = Allocator::default();
        let parsed = Parser::new(&room, text, SourceType::mjs()).parse();
        if let Some(problem) = parsed.diagnostics.first() {
            return Err(problem.to_string().into());
        }
        let mut program = parsed.program;
        let small = Minifier::new(MinifierOptions {
            mangle: Some(MangleOptions { top_level: Some(true), ..MangleOptions::default() }),
            compress: Some(CompressOptions::smallest()),
            mangle_properties: None,
        })
        .minify(&room, &mut program);
        let options = CodegenOptions {
            minify: true,
            comments: CommentOptions::disabled(),
            ..CodegenOptions::default()
        };
        let printed = Codegen::new()
            .with_options(options)
            .with_scoping(small.scoping)
            .with_private_member_mappings(small.class_private_mappings)
            .build(&program);
        Ok(printed.code)
    }

    fn style(text: &str) -> Outcome<String> {
        Ok(minifier::css::minify(text)?.to_string())
    }

    /// A line break between elements may be a space that is seen; what stands before the first word of a line is not.
    fn markup(text: &str) -> String {
        text.lines().map(str::trim_start).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    }
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Where the page is served from its source, an edit of it needs no build.
    #[cfg(feature = "server")]
    if std::env::var_os("CARGO_CFG_DEBUG_ASSERTIONS").is_none() {
        println!("cargo::rerun-if-changed=src/dashboard");
        let out = std::env::var_os("OUT_DIR").unwrap_or_default();
        if let Err(error) =
            page::build("src/dashboard".as_ref(), &std::path::Path::new(&out).join("dashboard"))
        {
            println!("cargo::error={error}");
        }
    }
}
