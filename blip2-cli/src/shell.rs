//! `blip2 completions SHELL` and `blip2 man`: the command line, told to a shell and to a reader.

use std::{fs, path::Path};

use blip2_io::write_file;
use clap::CommandFactory;
use clap_mangen::Man;

use crate::{
    Failure,
    args::{
        Cli,
        shell::{CompletionsArgs, ManArgs},
    },
    out,
};

pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "blip2", &mut script);
    out::write(format_args!("{}", String::from_utf8_lossy(&script)))
}

pub(crate) fn man(args: &ManArgs) -> Result<(), Failure> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let Some(folder) = &args.output else {
        return out::write(format_args!(
            "{}",
            String::from_utf8_lossy(&page(&Man::new(program))?)
        ));
    };
    let failed = |path: &Path, error| Failure::Work(format!("{}: {error}", path.display()));
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let mut left = vec![program];
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().cloned());
        let man = Man::new(command);
        let path = folder.join(man.get_filename());
        write_file(&path, page(&man)?).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

fn page(man: &Man) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    man.render(&mut page).map_err(Failure::work)?;
    Ok(page)
}
