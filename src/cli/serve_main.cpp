#include <unistd.h>

#include <string_view>

#include "chronos/base/standard_files.h"
#include "chronos/serve/program.h"
#include "cli/dispatch.h"
#include "cli/serve_program.h"

int main(int argc, char** argv) {
    using namespace chronos;
    open_standard_files();
    cli::set_serve_program({.command = serve::run, .engine = serve::run_engine});
    if (argc > 1 && argv[1] == std::string_view("engine"))
        return engine::run_engine(argc, argv, environ, cli::engine_parts());
    return cli::run_program(argc, argv, environ);
}
