#include "chronos/storage/storage.h"
#include "cli/context.h"

namespace chronos::cli {

Result<repo::Repository> open_repository(const config::Config& config, unsigned key) {
    const std::string name = "repo" + std::to_string(key);
    const std::string type = config.get_string(name + "-type");
    if (type != "posix" && type != "cifs")
        return Error(ErrorKind::option_invalid_value,
                     "'" + type + "' is not supported for '" + name + "-type' option")
            .with_hint("This version stores repositories in directories (posix, cifs).");
    repo::Repository repository;
    repository.key = key;
    repository.storage = storage::make_posix_storage(config.get_string(name + "-path"));
    if (config.get_string(name + "-cipher-type") == "aes-256-cbc") {
        repository.cipher = crypto::CipherType::aes_256_cbc;
        repository.passphrase = config.get_string(name + "-cipher-pass");
    }
    return repository;
}

Result<std::vector<repo::Repository>> open_repositories(const config::Config& config) {
    std::vector<unsigned> keys = config.repo_keys();
    if (const std::int64_t wanted = config.get_int("repo"); wanted != 0)
        keys = {static_cast<unsigned>(wanted)};
    std::vector<repo::Repository> repositories;
    for (const unsigned key : keys)
        repositories.push_back(CHRONOS_TRY(open_repository(config, key)));
    return repositories;
}

}  // namespace chronos::cli
