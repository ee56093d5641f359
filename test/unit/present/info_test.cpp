#include "chronos/ops/info/info.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "chronos/base/text.h"
#include "chronos/present/info_output.h"
#include "chronos/storage/posix/posix_storage.h"
#include "fixtures_directory.h"
#include "result_matchers.h"

namespace chronos::present {
namespace {

using ops::info::collect_info;
using ops::info::InfoCode;
using ops::info::InfoDetail;
using ops::info::InfoRequest;

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

void write_file(const fs::path& path, std::string_view content) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
}

/// A directory that is gone after the test.
class TemporaryDirectory {
public:
    TemporaryDirectory() {
        std::string name = (fs::temp_directory_path() / "chronos_info_XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
        path_ = name;
    }
    ~TemporaryDirectory() { fs::remove_all(path_); }
    const fs::path& path() const { return path_; }

private:
    fs::path path_;
};

/// The repositories of info-slim.tar.zst, unpacked once; encrypted again where they were.
class Fixtures {
public:
    Fixtures() {
        setenv("TZ", "UTC", 1);
        tzset();
        const std::string command = "tar --zstd -xf " CHRONOS_FIXTURES "/info-slim.tar.zst -C '" +
                                    root_.path().string() + "'";
        if (std::system(command.c_str()) != 0) throw std::runtime_error(command);
        for (const auto& entry : fs::directory_iterator(root_.path()))
            names_.push_back(entry.path().filename());
        std::sort(names_.begin(), names_.end());
        for (const std::string& name : names_) encrypt(name);
    }
    const std::vector<std::string>& names() const { return names_; }
    fs::path path(const std::string& name) const { return root_.path() / name; }

    repo::Repository repository(const std::string& name, unsigned key = 1) const {
        repo::Repository repository;
        repository.key = key;
        repository.storage = storage::make_posix_storage(path(name) / "repo");
        repository.passphrase = passphrase(name);
        if (!repository.passphrase.empty()) repository.cipher = crypto::CipherType::aes_256_cbc;
        return repository;
    }

private:
    std::string passphrase(const std::string& name) const {
        constexpr std::string_view kKey = "repo1-cipher-pass=";
        const std::string options = read_file(path(name) / "options.txt");
        for (std::string_view line : split(options, '\n'))
            if (line.starts_with(kKey)) return std::string(line.substr(kKey.size()));
        return "";
    }
    void encrypt(const std::string& name) const {
        const repo::Repository repository = this->repository(name);
        if (!repository.encrypted()) return;
        const fs::path root = path(name) / "repo";
        const std::string text = read_file(root / "backup/main/backup.info");
        const auto info = repo::parse_backup_info(text);
        if (!info) throw std::runtime_error(info.error().text());
        const auto rewrite = [&](const std::string& object, const std::string& pass) {
            const auto done = repo::write_text(repository, object, read_file(root / object), pass);
            if (!done) throw std::runtime_error(done.error().text());
        };
        rewrite("archive/main/archive.info", repository.passphrase);
        rewrite("backup/main/backup.info", repository.passphrase);
        for (const repo::BackupEntry& entry : info->backups)
            rewrite("backup/main/" + entry.label + "/backup.manifest", info->cipher_pass);
    }
    TemporaryDirectory root_;
    std::vector<std::string> names_;
};

const Fixtures& fixtures() {
    static const Fixtures instance;
    return instance;
}

InfoRequest request_for(const std::string& name) {
    InfoRequest request;
    request.repositories = {fixtures().repository(name)};
    request.lock_path = fixtures().path(name) / "lock";
    return request;
}

std::string text_of(const InfoRequest& request) {
    const auto report = collect_info(request);
    return report ? format_info_text(*report) : report.error().text();
}

std::string json_of(const InfoRequest& request) {
    const auto report = collect_info(request);
    return report ? format_info_json(*report) : report.error().text();
}

TEST(Info, PrintsEveryRecordedRepositoryAsRecorded) {
    ASSERT_EQ(fixtures().names().size(), 17u);
    for (const std::string& name : fixtures().names()) {
        SCOPED_TRACE(name);
        EXPECT_EQ(text_of(request_for(name)), read_file(fixtures().path(name) / "info.txt"));
        EXPECT_EQ(json_of(request_for(name)), read_file(fixtures().path(name) / "info.json"));
    }
}

/// What we say beside what pgBackRest says, taken out again; "" if it is not there.
std::string without_random_access(std::string text, bool is_json) {
    const std::string begin = is_json ? R"(,"random-access":{)" : "            random access: ";
    const std::size_t at = text.find(begin);
    if (at == std::string::npos) return "";
    const std::size_t end = text.find(is_json ? '}' : '\n', at);
    return text.erase(at, end - at + 1);
}

TEST(Info, PrintsEverySingleBackupAsRecorded) {
    std::size_t compared = 0;
    for (const std::string& name : fixtures().names()) {
        for (const auto& entry : fs::directory_iterator(fixtures().path(name))) {
            const std::string file = entry.path().filename();
            if (!file.starts_with("info-set-")) continue;
            SCOPED_TRACE(name + "/" + file);
            InfoRequest request = request_for(name);
            request.stanza = "main";
            request.set = entry.path().stem().string().substr(9);
            const bool is_json = entry.path().extension() == ".json";
            EXPECT_EQ(without_random_access(is_json ? json_of(request) : text_of(request), is_json),
                      read_file(entry.path()));
            ++compared;
        }
    }
    EXPECT_EQ(compared, 122u);
}

TEST(Info, OfASingleBackupSaysWhatIsFetchedWhole) {
    InfoRequest request = request_for("plain-gz");
    request.stanza = "main";
    request.set = "20261120-083744F";
    auto report = collect_info(request);
    ASSERT_OK(report);
    ops::info::InfoBackup& backup = report->stanzas.front().backups.front();
    EXPECT_EQ(backup.random_access.size_bytes(), backup.entry.size);
    backup.random_access = {1 << 20, 3 << 20, "base/5/1259", 3 << 20};
    EXPECT_NE(
        format_info_text(*report).find("random access: 25% (1MB of 4MB); largest file fetched "
                                       "whole: base/5/1259, 3MB\n"),
        std::string::npos)
        << format_info_text(*report);
    EXPECT_NE(format_info_json(*report).find(
                  R"("random-access":{"in-parts":1048576,"largest-whole":{"name":"base/5/1259",)"
                  R"("size":3145728},"whole":3145728})"),
              std::string::npos)
        << format_info_json(*report);
}

// Also one that pgBackRest has made: it notes the same.
TEST(Info, SaysThatABackupIsOfAStandby) {
    InfoRequest request = request_for("plain-gz");
    request.stanza = "main";
    auto report = collect_info(request);
    ASSERT_OK(report);
    EXPECT_EQ(format_info_text(*report).find("standby"), std::string::npos);
    EXPECT_EQ(format_info_json(*report).find("standby"), std::string::npos);
    report->stanzas.front().backups.front().entry.option_backup_standby = true;
    EXPECT_NE(format_info_text(*report).find("            copied from: a standby\n"),
              std::string::npos);
    EXPECT_NE(format_info_json(*report).find(R"("standby":true)"), std::string::npos);
}

TEST(Info, NamesAndTextsOfOthersCannotCommandATerminal) {
    InfoRequest request = request_for("plain-gz");
    request.stanza = "main";
    request.set = "20261120-083744F";
    auto report = collect_info(request);
    ASSERT_OK(report);
    ops::info::InfoBackup& backup = report->stanzas.front().backups.front();
    const std::string evil = "ev\nil\x1b[2J";
    backup.manifest->databases.front().name = evil;
    backup.entry.annotations[evil] = evil;
    const std::string text = format_info_text(*report);
    EXPECT_EQ(text.find('\x1b'), std::string::npos);
    EXPECT_NE(text.find("ev?il?[2J: ev?il?[2J\n"), std::string::npos) << text;
    EXPECT_NE(text.find("ev?il?[2J ("), std::string::npos) << text;
}

TEST(Info, LatestAndOldestStandForLabels) {
    for (const auto& [word, label] : {std::pair("latest", "20261120-083744F_20261120-083749I"),
                                      std::pair("oldest", "20261120-083744F")}) {
        InfoRequest request = request_for("plain-gz");
        request.stanza = "main";
        request.set = word;
        EXPECT_EQ(
            without_random_access(text_of(request), /*is_json=*/false),
            read_file(fixtures().path("plain-gz") / ("info-set-" + std::string(label) + ".txt")));
    }
}

TEST(Info, TypeLeavesOutOtherBackups) {
    InfoRequest request = request_for("plain-gz");
    request.type = repo::BackupType::diff;
    const auto report = collect_info(request);
    ASSERT_OK(report);
    ASSERT_EQ(report->stanzas.at(0).backups.size(), 1u);
    EXPECT_EQ(report->stanzas[0].backups[0].entry.label, "20261120-083744F_20261120-083747D");
    EXPECT_EQ(report->stanzas[0].status.code, InfoCode::ok);
}

TEST(Info, UnknownLabelIsAStatus) {
    InfoRequest request = request_for("plain-gz");
    request.stanza = "main";
    for (const char* label : {"20250101-000000F", "bogus"}) {
        request.set = label;
        EXPECT_EQ(
            text_of(request),
            "stanza: main\n    status: error (requested backup not found)\n    cipher: none\n");
        EXPECT_EQ(json_of(request),
                  R"([{"archive":[],"backup":[],"cipher":"none","db":[],"name":"main","repo":[{)"
                  R"("cipher":"none","key":1,"status":{"code":6,"message":"requested backup not )"
                  R"(found"}}],"status":{"code":6,"lock":{"backup":{"held":false},"restore":{)"
                  R"("held":false}},"message":"requested backup not found"}}])");
    }
    request.stanza.clear();
    EXPECT_ERROR(ErrorKind::option_invalid, collect_info(request));
}

TEST(Info, MissingStanzaPrintsAsRecorded) {
    TemporaryDirectory empty;
    InfoRequest request = request_for("plain-gz");
    request.repositories[0].storage = storage::make_posix_storage(empty.path());
    EXPECT_EQ(text_of(request), "No stanzas exist in the repository.\n");
    EXPECT_EQ(json_of(request), "[]");
    request.stanza = "demo";
    EXPECT_EQ(text_of(request), "stanza: demo\n    status: error (missing stanza path)\n");
    EXPECT_EQ(
        json_of(request),
        R"([{"archive":[],"backup":[],"cipher":"none","db":[],"name":"demo","repo":[{"cipher":)"
        R"("none","key":1,"status":{"code":1,"message":"missing stanza path"}}],"status":)"
        R"({"code":1,"lock":{"backup":{"held":false},"restore":{"held":false}},"message":)"
        R"("missing stanza path"}}])");
}

TEST(Info, MissingArchiveInfoIsNamedWithItsClass) {
    TemporaryDirectory copy;
    fs::copy(fixtures().path("plain-gz") / "repo", copy.path() / "repo",
             fs::copy_options::recursive);
    fs::remove(copy.path() / "repo/archive/main/archive.info");
    InfoRequest request = request_for("plain-gz");
    request.repositories[0].storage = storage::make_posix_storage(copy.path() / "repo");
    const std::string text = text_of(request);
    EXPECT_TRUE(
        text.starts_with("stanza: main\n    status: error (other)\n"
                         "            [FileMissingError] unable to load info file '"))
        << text;
    fs::remove(copy.path() / "repo/backup/main/backup.info");
    EXPECT_EQ(text_of(request),
              "stanza: main\n    status: error (missing stanza data)\n    cipher: none\n");
}

TEST(Info, RepositoriesThatDifferAreListedOneByOne) {
    InfoRequest request = request_for("plain-gz");
    TemporaryDirectory empty;
    repo::Repository second = fixtures().repository("plain-gz", 2);
    second.storage = storage::make_posix_storage(empty.path());
    request.repositories.push_back(second);
    const std::string text = text_of(request);
    EXPECT_TRUE(
        text.starts_with("stanza: main\n    status: mixed\n        repo1: ok\n"
                         "        repo2: error (missing stanza path)\n    cipher: none\n"))
        << text;
    request.repositories[1] = fixtures().repository("gz-bundle-aes", 2);
    const std::string other = text_of(request);
    EXPECT_TRUE(other.starts_with(
        "stanza: main\n    status: error (database mismatch across repos)\n        repo1: ok\n"
        "        repo2: ok\n    cipher: mixed\n        repo1: none\n        repo2: aes-256-cbc\n"))
        << other;
    request.repositories.push_back(second);
    request.repositories.back().key = 3;
    EXPECT_NE(text_of(request).find("status: error (database mismatch across repos)\n"),
              std::string::npos);
}

TEST(Info, HeldLocksShowWithTheirProgress) {
    InfoRequest request = request_for("plain-gz");
    const fs::path lock = fs::path(request.lock_path) / "main-backup-1.lock";
    write_file(lock, R"({"execId":"1-e77c9c06","pctCplt":2956,"pid":1,"sz":48893759,)"
                     R"("szCplt":14450688})");
    const int file = open(lock.c_str(), O_RDWR);
    ASSERT_EQ(flock(file, LOCK_EX | LOCK_NB), 0);
    const std::string text = text_of(request);
    const std::string json = json_of(request);
    request.detail = InfoDetail::progress;
    const std::string progress = json_of(request);
    close(file);
    EXPECT_TRUE(text.starts_with(
        "stanza: main\n    status: ok (backup/expire running - 29.56% complete)\n"))
        << text;
    const std::string lock_text =
        R"("lock":{"backup":{"held":true,"repo":[{"key":1,"size":48893759,"size-cplt":14450688}],)"
        R"("size":48893759,"size-cplt":14450688},"restore":{"held":false}})";
    EXPECT_NE(json.find(lock_text), std::string::npos) << json;
    EXPECT_EQ(progress,
              R"([{"name":"main","status":{"code":0,)" + lock_text + R"(,"message":"ok"}}])");
}

}  // namespace
}  // namespace chronos::present
