#include <unistd.h>

#include <string_view>

#include "cli/archive_get_status.h"
#include "cli/dispatch.h"
#include "cli/engine.h"

int main(int argc, char** argv) {
    using namespace chronos::cli;
    if (argc > 1 && argv[1] == std::string_view("engine")) return run_engine(argc, argv, environ);
    return archive_get_status({argv, static_cast<std::size_t>(argc)},
                              run_program(argc, argv, environ));
}
