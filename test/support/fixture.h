#pragma once

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "chronos/repo/repository.h"
#include "chronos/storage/posix/posix_storage.h"
#include "fixtures_directory.h"
#include "temporary_directory.h"

namespace chronos::test {

/// A repository of test/fixtures (or of $TEST_FIXTURES_DIR), unpacked for one test.
class Fixture {
public:
    explicit Fixture(const std::string& name) {
        const char* const directory = std::getenv("TEST_FIXTURES_DIR");
        const std::string archive =
            std::string(directory == nullptr ? CHRONOS_FIXTURES : directory) + "/" + name +
            ".tar.zst";
        const std::string command =
            "tar --zstd --no-same-owner -xf '" + archive + "' -C '" + directory_.path() + "'";
        if (std::system(command.c_str()) != 0) throw std::runtime_error("unpack " + archive);
    }
    /// The directory `part` of it: "repo", or the case of `crafted`.
    std::string path(const std::string& part = "repo") const { return directory_ / part; }
    repo::Repository repository(const std::string& pass = "",
                                const std::string& part = "repo") const {
        repo::Repository repository;
        repository.storage = storage::make_posix_storage(path(part));
        if (!pass.empty()) repository.cipher = crypto::CipherType::aes_256_cbc;
        repository.passphrase = pass;
        return repository;
    }

private:
    TemporaryDirectory directory_;
};

inline std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("open " + path);
    return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_file(const std::string& path, std::string_view content) {
    std::ofstream file(path, std::ios::binary);
    file << content;
    if (!file.flush()) throw std::runtime_error("write " + path);
}

}  // namespace chronos::test
