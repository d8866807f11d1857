"""Every score that the two papers print, 376 numbers; ``?`` marks those that contradict others, see the notes."""

from __future__ import annotations

from csmri_ext.experiments.published import Score, read_scores, read_scores_by_setting

GA_HQS_IXI = read_scores_by_setting("""
                                unet_fastmri    modl            ista_net_plus   miccan          hqs_net         ga_hqs
random 4x                 PSNR  31.276          33.804          33.612          35.433          31.488          37.077
random 4x                 SSIM  0.954           0.962           0.960           0.973           0.948           0.981
random 8x                 PSNR  29.057          29.206          28.329          31.687          28.697          33.580
random 8x                 SSIM  0.932           0.938           0.899           0.950           0.923           0.962
equispaced_fraction 4x    PSNR  30.220          30.450          29.890          33.498          30.344          34.573?
equispaced_fraction 4x    SSIM  0.946           0.948           0.921           0.965           0.942           0.974
equispaced_fraction 8x    PSNR  27.905          27.721          26.833          29.987          27.401          31.287
equispaced_fraction 8x    SSIM  0.922           0.918           0.886           0.940           0.909           0.955
radial_golden 4x          PSNR  34.053          42.542          43.233          41.634          35.139          45.286
radial_golden 4x          SSIM  0.967           0.991           0.992           0.991           0.969           0.994
radial_golden 8x          PSNR  29.752          31.266          31.976          32.830          29.017          34.129
radial_golden 8x          SSIM  0.935           0.939           0.941           0.959           0.921           0.968
""")
"""Table 1, T2 brains."""

GA_HQS_KNEES = read_scores_by_setting("""
                                unet_fastmri    modl            ista_net_plus   miccan          hqs_net         ga_hqs
random 4x                 PSNR  27.958          29.007          29.071          29.111          28.566          29.983
random 4x                 SSIM  0.811           0.831           0.834           0.835           0.819           0.848
random 8x                 PSNR  26.375          26.983          27.028          27.374          26.636          27.891
random 8x                 SSIM  0.754           0.761           0.762           0.771           0.754           0.791
equispaced_fraction 4x    PSNR  27.264?         28.146?         28.206?         28.339?         27.822?         28.508?
equispaced_fraction 4x    SSIM  0.780           0.793           0.797           0.802           0.787           0.807
equispaced_fraction 8x    PSNR  26.424          27.114          27.259          27.414          27.667          27.818
equispaced_fraction 8x    SSIM  0.723           0.740           0.741           0.745           0.720           0.754
radial_golden 4x          PSNR  27.264?         28.046?         28.206?         28.339?         27.822?         28.508?
radial_golden 4x          SSIM  0.745           0.743           0.746           0.750           0.745           0.767
radial_golden 8x          PSNR  28.689?         30.145?         30.282?         30.205?         29.319?         30.821?
radial_golden 8x          SSIM  0.830           0.863           0.867           0.865           0.839           0.873
""")
"""Table 1, knees with fat suppression."""

GA_HQS_ABLATION = read_scores("""
                  PSNR     SSIM
ga_hqs_baseline1  34.783   0.973
ga_hqs_baseline2  34.866   0.973
ga_hqs_baseline3  35.042   0.975
ga_hqs            35.470?  0.978
""")
"""Table 2, T2 brains, equispaced 4x."""

NASN_KNEES = read_scores("""
              MSE / 1e-10       NMSE / 1e-2       PSNR              SSIM
tv            2.351 ± 5.355     7.104 ± 7.633     28.12 ± 6.246     0.5192 ± 0.2509
unet          1.764 ± 3.742     5.654 ± 6.321     29.15 ± 5.904     0.6028 ± 0.2508
dccnn3        1.718 ± 4.021     5.521 ± 6.484     29.37 ± 6.538     0.6118 ± 0.2648
dccnn11       1.635 ± 3.651     5.407 ± 6.456     29.49 ± 6.544     0.6147 ± 0.2658
modl3         2.025 ± 5.167     5.886 ± 6.358     28.95 ± 6.226     0.6075 ± 0.2596
modl11        1.938 ± 4.785     5.788 ± 6.356     29.04 ± 6.235     0.6089 ± 0.2606
rdn3          1.623 ± 3.587     5.398 ± 6.444     29.49 ± 6.501     0.6147 ± 0.2656
rdn8          1.531 ± 3.204     5.290 ± 6.468     29.62 ± 6.534     0.6170 ± 0.2665
nasn_knee     1.432 ± 2.919     5.112 ± 6.408     29.83 ± 6.692     0.6204 ± 0.2676
""")
"""Table 1, knees."""

_OTHER_CELLS = read_scores("""
              MSE / 1e-10       NMSE / 1e-2       PSNR              SSIM
nasn_2nodes   1.462 ± 3.046     5.148 ± 6.407     29.78 ± 6.696     0.6201 ± 0.2684
nasn_4nodes   1.405 ± 2.781     5.081 ± 6.420     29.87 ± 6.719     0.6218 ± 0.2687
nasn_space_b  1.439 ± 2.935     5.122 ± 6.401     29.81 ± 6.693     0.6202 ± 0.2678
nasn_brain    1.454 ± 2.996     5.153 ± 6.433     29.78 ± 6.696     0.6202 ± 0.2685
""")


def _rows(*names: str) -> dict[str, dict[str, Score]]:
    """Return rows of a table for knees; that of nasn_knee is the same in all of them."""
    return {name: (NASN_KNEES | _OTHER_CELLS)[name] for name in names}


NASN_NODES = _rows("nasn_2nodes", "nasn_knee", "nasn_4nodes")
"""Table 2, knees: nodes of a cell."""

NASN_SPACES = _rows("nasn_knee", "nasn_space_b")
"""Table 3, knees: search spaces A and B."""

NASN_BRAINS = read_scores("""
              MSE / 1e-10       NMSE / 1e-2       PSNR              SSIM
tv            16.81 ± 16.39     7.700 ± 6.563     26.94 ± 4.370     0.7594 ± 0.1039
unet          6.764 ± 7.274     3.055 ± 2.697     31.00 ± 4.764     0.8941 ± 0.05672
dccnn3        6.388 ± 9.175     2.894 ± 3.833     31.85 ± 6.806     0.8933 ± 0.07821
dccnn11       5.609 ± 7.532     2.534 ± 3.051     32.25 ± 6.332     0.8976 ± 0.07016
modl3         10.04 ± 12.88     4.561 ± 5.326     29.63 ± 5.976     0.8558 ± 0.09167
modl11        17.98 ± 16.98     8.208 ± 6.489     26.60 ± 4.107     0.7537 ± 0.09623
rdn3          5.629 ± 7.392     2.545 ± 2.972     32.17 ± 6.115     0.8957 ± 0.06916
rdn8          5.782 ± 7.440     2.629 ± 3.113     32.03 ± 6.052     0.8944 ± 0.06882
nasn_knee     4.596 ± 6.236     2.082 ± 2.561     33.12 ± 6.348     0.9090 ± 0.06351
nasn_brain    4.495 ± 6.306     2.032 ± 2.579     33.27 ± 6.475     0.9117 ± 0.06286
""")
"""Table 4, T2 brains."""

NASN_CROSS_KNEES = _rows("nasn_knee", "nasn_brain")
"""Table 5, knees: the cells found on knees and on brains."""

NASN_CROSS_BRAINS = {name: NASN_BRAINS[name] for name in ("nasn_knee", "nasn_brain")}
"""Table 5, T2 brains: the cells found on knees and on brains."""
