#ifndef KNAP_CCRYPTO_H
#define KNAP_CCRYPTO_H

/* The part of OpenSSL's libcrypto that the host uses: message digests, and Ed25519 with its keys in PEM. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#endif
