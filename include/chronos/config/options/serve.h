#pragma once

#include <array>

#include "chronos/config/options/sets.h"

/// Options of the service over HTTP.
namespace chronos::config::options {

inline constexpr std::array kServeOptions{
    Option{.name = "http-listen",
           .type = Type::string,
           .commands = serve,
           .default_text = "localhost:8080",
           .summary = "address and port to serve on",
           .details = "Another address than a local one needs http-token-file, or http-open."},
    Option{.name = "http-open",
           .type = Type::boolean,
           .commands = serve,
           .default_text = "n",
           .summary = "serve on any address without a token",
           .details = "Everybody who reaches the port learns names and sizes of all backups."},
    Option{.name = "http-tls-cert-file",
           .type = Type::path,
           .commands = serve,
           .summary = "certificate, with its chain, to serve TLS with (PEM)"},
    Option{.name = "http-tls-key-file",
           .type = Type::path,
           .commands = serve,
           .summary = "private key of that certificate (PEM)"},
    Option{.name = "http-token-file",
           .type = Type::path,
           .commands = serve,
           .summary = "file that holds the token which requests must bear",
           .details = "As \"Authorization: Bearer <token>\", or as the password of a browser's "
                      "login. /healthz and /readyz need none."},
};

}  // namespace chronos::config::options
