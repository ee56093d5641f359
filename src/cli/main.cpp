#include <unistd.h>

#include "cli/dispatch.h"

int main(int argc, char** argv) {
    return chronos::cli::run_program(argc, argv, environ);
}
