"""IQAGPT: CT image quality assessment with a vision-language captioner and reports.

Research software, not for diagnosis. Method: Chen et al., IQAGPT, Vis. Comput. Ind. Biomed. Art 7:20, 2024.
"""
