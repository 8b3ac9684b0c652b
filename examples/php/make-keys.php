<?php

declare(strict_types=1);

// php make-keys.php FOLDER: makes site-key.pem, with which the site signs, and
// jwks.json, by which natterd checks (CHAT_EXCHANGE_JWKS, as a path or served
// under https). A new key beside an old one: the JWKS gets both, so publish it
// before the site signs with the new one.
require __DIR__ . '/Natter.php';

$folder = $argv[1] ?? __DIR__ . '/keys';
if (!is_dir($folder) && !mkdir($folder, 0700, true)) {
    exit(1);
}
$jwks = is_file("$folder/jwks.json")
    ? json_decode(file_get_contents("$folder/jwks.json"), true, flags: JSON_THROW_ON_ERROR)
    : ['keys' => []];
$key = openssl_pkey_new(['private_key_type' => OPENSSL_KEYTYPE_RSA, 'private_key_bits' => 3072]);
$umask = umask(0077);
if ($key === false || !openssl_pkey_export_to_file($key, "$folder/site-key.pem")) {
    exit(1);
}
umask($umask);
$jwks['keys'] = array_slice([Natter::jwk($key), ...$jwks['keys']], 0, 2);
file_put_contents("$folder/jwks.json", json_encode($jwks,
    JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES) . "\n");
echo "$folder/site-key.pem (secret)\n$folder/jwks.json (public)\n";
