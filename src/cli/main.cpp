#include <unistd.h>

#include <string_view>

#include "chronos/base/standard_files.h"
#include "cli/archive_get_status.h"
#include "cli/dispatch.h"
#include "cli/serve_program.h"

int main(int argc, char** argv) {
    using namespace chronos;
    open_standard_files();
    // Before there is a guard: it would be one process too many. If it fails the role says why.
    if (argc > 2 && argv[1] == std::string_view("engine") && argv[2] == std::string_view("serve"))
        cli::become_serve_program();
    if (argc > 1 && argv[1] == std::string_view("engine"))
        return engine::run_engine(argc, argv, environ, cli::engine_parts());
    return cli::archive_get_status({argv, static_cast<std::size_t>(argc)},
                                   cli::run_program(argc, argv, environ));
}
