#include <unistd.h>

#include <string_view>

#include "chronos/base/standard_files.h"
#include "cli/dispatch.h"
#include "cli/serve/program.h"
#include "cli/serve_program.h"

int main(int argc, char** argv) {
    using namespace chronos::cli;
    chronos::open_standard_files();
    set_serve_program({.command = serve::run, .engine = serve::run_engine});
    if (argc > 1 && argv[1] == std::string_view("engine"))
        return run_engine(argc, argv, environ, engine_parts());
    return run_program(argc, argv, environ);
}
